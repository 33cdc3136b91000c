"""Several ranks beside one, each on one core: edges/s, processor time, and what the model is worth.

    make bench-ranks
    make bench-ranks ARGS='--millions 1 --ranks 1 2 --rounds 2'
    make bench-ranks ARGS='--categories'
    python -m benchmarks.training.bench_ranks --millions 4 --ranks 1 2 4 --rounds 3 --scratch /var/tmp/ranks

The log: users and items in groups, of which a user takes most items from their own; four relations, Zipf's law over
items. With `--categories` the groups are a type of one partition, of which every rank has a copy, and users are related
to those whose items they take.

Every rank is a whole process with one worker, bound to one core (`taskset`; where there are fewer cores than ranks,
they share them), over loopback. Sides take turns; figures are medians over the rounds. `edges/s` is what `train` says
of all ranks together, s the time of the whole command, processor s that of all ranks; a busy second is one of processor
time of the busiest rank, start and plan included, which other jobs on the machine disturb far less than the clock.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.machine.resources import cpu_count
from benchmarks.environment import REPOSITORY, save, surroundings
from benchmarks.synthetic_log import command

RELATIONS, BROWSE = ("click", "long_click", "save", "buy"), "browse"
GROUP_ITEMS, OWN_GROUP = 100, 0.8  # items of a group, and the share of edges that lead into the user's own
PARTITIONS = 8


def write_world(directory: Path, edges: int, dimension: int, epochs: int, categories: bool) -> Path:
    """Log and config; returns the config."""
    generator, users, items = np.random.default_rng(0), edges // 20, edges // 80
    groups = max(items // GROUP_ITEMS, 1)
    user = generator.integers(0, users, edges)
    place = np.minimum(generator.zipf(1.3, edges) - 1, GROUP_ITEMS - 1)
    group = np.where(generator.random(edges) < OWN_GROUP, user % groups, generator.integers(0, groups, edges))
    kind = pa.DictionaryArray.from_arrays(generator.integers(0, len(RELATIONS), edges).astype(np.int8), RELATIONS)
    (directory / "log").mkdir()
    pq.write_table(
        pa.table({"user": user, "item": group * GROUP_ITEMS + place, "category": group, "kind": kind}),
        directory / "log/a.parquet",
    )
    lhs, item, category = ({"type": name, "column": name} for name in ("user", "item", "category"))
    browse = [{"name": BROWSE, "source": "log", "lhs": lhs, "rhs": category}] if categories else []
    graph = {
        "partitions": PARTITIONS,
        "sources": {"log": {"path": "log/*.parquet"}},
        "entities": {"user": {}, "item": {}, **({"category": {"partitions": 1}} if categories else {})},
        "relations": [{"relation_column": "kind", "source": "log", "lhs": lhs, "rhs": item}, *browse],
        "split": {"random": {"valid": 0.01, "test": 0.01}},
    }
    model = {"operator": "transra", "anchors": RELATIONS[:1], "dimension": dimension, "epochs": epochs, "workers": 1}
    config = directory / "c.json"
    config.write_text(json.dumps({"graph": graph, "model": model, "evaluate": {"max_edges": 10_000}}))
    return config


def train(config: Path, count: int) -> tuple[float, list[float]]:
    """Seconds, and processor seconds of each rank with its workers."""
    machines = json.dumps({"ranks": count, "address": "127.0.0.1"})
    began, ranks = time.perf_counter(), []
    for rank in range(count):
        of_many = ["--set", f"model.machines={machines}", "--rank", str(rank)] if count > 1 else []
        core = str(rank % cpu_count())
        ranks.append(subprocess.Popen(["taskset", "-c", core, *command("train", config, *of_many)], cwd=REPOSITORY))
    processor = []
    for rank in ranks:
        _, status, usage = wait4(rank)
        if status:
            raise SystemExit(f"a rank ended with {status}")
        processor.append(usage.ru_utime + usage.ru_stime)
    return time.perf_counter() - began, processor


def wait4(process: "subprocess.Popen[bytes]") -> tuple[int, int, resource.struct_rusage]:
    """Waits for a process; what it took has that of its own children that it waited for, its workers."""
    return os.wait4(process.pid, 0)


def measure(graph: Path, count: int, scratch: Path) -> dict[str, float]:
    """One training from the beginning, judged."""
    root = scratch / "root"
    shutil.copytree(graph, root, symlinks=True)
    seconds, processor = train(root / "c.json", count)
    subprocess.run(command("evaluate", root / "c.json"), cwd=REPOSITORY, check=True)
    (run,) = (root / "runs").glob("2*/metrics.json")
    metrics = json.loads(run.read_text())
    shutil.rmtree(root)
    edges = metrics["partition"]["edges_by_split"]["train"] * metrics["train"]["epochs"]
    retrieval = metrics["evaluate"]["anchor_retrieval"]["pairs"]["user->item"]
    of_categories = metrics["evaluate"]["relations"].get(BROWSE)
    return {
        "edges_per_second": metrics["train"]["edges_per_second"],
        "edges_per_busy_second": edges / max(processor),
        "seconds": seconds,
        "cpu_seconds": sum(processor),
        "mrr": metrics["evaluate"]["mrr"],
        "recall": retrieval["recall@10"],
        **({"categories_mrr": of_categories["mrr"]} if of_categories else {}),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--millions", type=float, default=4, help="edges")
    arguments.add_argument("--dimension", type=int, default=64)
    arguments.add_argument("--epochs", type=int, default=2)
    arguments.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--categories", action="store_true", help="a type of one partition beside users and items")
    arguments.add_argument("--scratch", type=Path, help="where log, graph and models are written and removed")
    options = arguments.parse_args()
    found: dict[int, list[dict[str, float]]] = {count: [] for count in options.ranks}
    with tempfile.TemporaryDirectory(prefix="bench-ranks-", dir=options.scratch) as name:
        graph = Path(name) / "graph"
        graph.mkdir()
        config = write_world(graph, int(options.millions * 1e6), options.dimension, options.epochs, options.categories)
        subprocess.run(command("partition", config), cwd=REPOSITORY, check=True)
        for _ in range(options.rounds):
            for count in options.ranks:
                found[count].append(measure(graph, count, Path(name)))
                print(count, {key: round(value, 4) for key, value in found[count][-1].items()}, flush=True)
    medians = {
        count: {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        for count, rounds in found.items()
    }
    print(table(medians))
    save(
        "ranks",
        {
            "medians": medians,
            "rounds": found,
            "load": psutil.getloadavg(),
            "protocol": f"{options.millions:g} M edges, d={options.dimension}, {options.epochs} epochs, 1 worker each"
            + (", categories in one partition" if options.categories else ""),
            **surroundings(["torch", "torchbiggraph"]),
        },
    )


def table(medians: dict[int, dict[str, float]]) -> str:
    """A row a number of ranks."""
    first = medians[min(medians)]
    of_categories = "categories_mrr" in first
    lines = [
        "| ranks | s | edges/s | times one | processor s | edges a busy second | times one | MRR | recall@10 |"
        + (" MRR of categories |" if of_categories else ""),
        "|---|---|---|---|---|---|---|---|---|" + ("---|" if of_categories else ""),
    ]
    for count, row in medians.items():
        rate, busy = (
            f"{row[key]:,.0f} | {row[key] / first[key]:.2f}" for key in ("edges_per_second", "edges_per_busy_second")
        )
        lines.append(
            f"| {count} | {row['seconds']:.0f} | {rate} | {row['cpu_seconds']:.0f} | {busy} | {row['mrr']:.4f} "
            f"| {row['recall']:.4f} |" + (f" {row['categories_mrr']:.4f} |" if of_categories else "")
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
