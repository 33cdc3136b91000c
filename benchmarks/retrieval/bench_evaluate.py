"""Evaluation at scale: seconds and memory of `transra evaluate` on a graph of 3 M entities and 10,000 test edges.

    make bench-evaluate
    python -m benchmarks.retrieval.bench_evaluate --entities 300000 --edges 10000 --dimension 64

All entities are of one type, so that each of the edges' two sides is ranked among all of them, twice: by the relation's
score and by plain similarity. Two relations, an anchor and one with a projection. The log, the graph and a checkpoint
of one short epoch are made first; what is timed is the one command, from exec to exit. Processor time stands
beside it, since other programs that want the cores take from the one and hardly from the other.
"""

import argparse
import json
import os
import resource
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.machine.resources import cpu_count
from benchmarks.environment import REPOSITORY, save, surroundings, timed_process
from benchmarks.synthetic_log import DISK_PER_EDGE, command

DEGREE = 2  # training edges per entity
RELATIONS = ("next", "similar")  # the first one is the anchor
METRICS = ("mrr", "hits@1", "hits@10", "auc")


def write_log(path: Path, heads: Any, entities: int, generator: np.random.Generator) -> None:
    """An edge for each head; tails follow a Zipf law, but for every other one."""
    tails = generator.integers(0, entities, len(heads))
    tails[::2] = generator.zipf(1.3, len(tails[::2])) % entities
    columns = {"head": heads, "tail": tails, "relation": generator.integers(0, len(RELATIONS), len(heads))}
    pq.write_table(pa.table(columns), path, row_group_size=1 << 20)


def write_config(path: Path, options: argparse.Namespace) -> None:
    sides = {side: {"type": "item", "column": column} for side, column in (("lhs", "head"), ("rhs", "tail"))}
    relations = [
        {"name": name, "source": ["train", "test"], **sides, "where": f"relation = {index}"}
        for index, name in enumerate(RELATIONS)
    ]
    graph = {
        "sources": {split: {"path": f"{split}.parquet", "split": split} for split in ("train", "test")},
        "entities": {"item": {}},
        "relations": relations,
    }
    model = {
        "operator": "transra",
        "anchors": [RELATIONS[0]],
        "dimension": options.dimension,
        "epochs": 1,
        "uniform_negatives": 10,
    }
    path.write_text(json.dumps({"graph": graph, "model": model}))


def cpu_seconds() -> float:
    """Of all processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(options: argparse.Namespace, directory: Path) -> dict[str, Any]:
    generator, config = np.random.default_rng(0), directory / "c.json"
    everyone = np.tile(np.arange(options.entities), DEGREE)
    write_log(directory / "train.parquet", everyone, options.entities, generator)
    write_log(
        directory / "test.parquet", generator.choice(everyone, options.edges * 11 // 10), options.entities, generator
    )
    write_config(config, options)  # some test edges are training's or each other's
    for stage in ("partition", "train"):
        timed_process(command(stage, config), REPOSITORY)
    settings = [f"evaluate.{setting}" for setting in (f"max_edges={options.edges}", *options.set)]
    before = cpu_seconds()
    seconds, peak = timed_process(
        command("evaluate", config, *(word for setting in settings for word in ("--set", setting))), REPOSITORY
    )
    (metrics,) = (json.loads(path.read_text()) for path in (directory / "runs").glob("2*/metrics.json"))
    found = metrics["evaluate"]
    return {
        "entities": metrics["partition"]["entities"],
        "train_edges": metrics["partition"]["edges_by_split"]["train"],
        "test_edges": found["triples"],
        "dimension": options.dimension,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds() - before,
        "load": os.getloadavg()[0],
        "peak_bytes": peak,
        "table_bytes": metrics["partition"]["entities"] * options.dimension * 4,
        "evaluate": {name: found[name] for name in METRICS},
        "protocol": found["protocol"],
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--entities", type=int, default=3_000_000)
    arguments.add_argument("--edges", type=int, default=10_000, help="of the test split")
    arguments.add_argument("--dimension", type=int, default=64)
    arguments.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the section `evaluate`")
    arguments.add_argument("--scratch", type=Path, help="where log, graph and model are written and removed")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-evaluate-", dir=options.scratch) as name:
        need = options.entities * (DEGREE * DISK_PER_EDGE + 2 * options.dimension * 4)
        if (free := shutil.disk_usage(name).free) < need:
            raise SystemExit(f"{name}: {need >> 30} GiB are needed, {free >> 30} are free")
        found = {**measure(options, Path(name)), **surroundings(["torch", "numpy", "h5py"])}
    rate = 8 * found["test_edges"] * found["entities"] * found["dimension"] / found["cpu_seconds"] / 1e9
    print(
        f"{found['machine']}, {found['date']}, {found['versions']}\n"
        f"{found['entities']:,} entities, {found['train_edges']:,} training edges, {found['test_edges']:,} test edges, "
        f"d={found['dimension']}: {found['protocol']}\n"
        f"{found['seconds']:.0f} s from exec to exit on {cpu_count()} cores (load average {found['load']:.1f}), "
        f"{found['cpu_seconds']:.0f} s of processor time, {rate:.0f} GFLOP/s a core; "
        f"peak {found['peak_bytes'] / 1e9:.2f} GB beside a table of {found['table_bytes'] / 1e9:.2f} GB"
    )
    save("evaluate", found)


if __name__ == "__main__":
    main()
