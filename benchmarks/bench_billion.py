"""A billion edges on one small machine: the main job from the log to a neighbour query, stage by stage beside its plan.

    make bench-billion
    python -m benchmarks.bench_billion --edges 100e6 --dimension 32 --scratch /var/tmp/billion

The log: users and items, integers, both with a heavy tail (the r-th most frequent of them as r^-1/2 and r^-2/3), 13
relations, one entity to ten edges. Each stage is one `transra` process, from exec to exit: partition, train (one epoch,
swapping), export, and a query for neighbours. What is done is kept in `--scratch`: repeat the command, and it resumes
with the next stage. Memory is the proportional set size of the process tree, disk all that lies below `--scratch`; both
are sampled.
"""

import argparse
import json
import math
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.environment import OUT, REPOSITORY, save, surroundings
from benchmarks.synthetic_log import command
from benchmarks.watched import watched

RELATIONS = [f"kind_{number:02}" for number in range(13)]
FILE_EDGES = 5_000_000
ENTITIES_PER_EDGE = 0.1
USERS = 0.6  # of the entities
EDGES_IN_A_BUCKET = 4_000_000
KEEP_FREE = 10 << 30
IMPORTING, IMPORTED = 41, 25  # bytes an edge, of log, spill and graph together; a model needs its own beside the second
STAGES = ("partition", "train", "export", "neighbors")
SPILL, GRAPH_FILES = "spill", {"edges": "buckets", "entities": "ids"}


def write_log(directory: Path, edges: int) -> None:
    """Files of at most FILE_EDGES events; those that are there stay."""
    directory.mkdir(parents=True, exist_ok=True)
    entities = int(edges * ENTITIES_PER_EDGE)
    users, items = max(int(entities * USERS), 1), max(int(entities * (1 - USERS)), 1)
    kinds = pa.array(RELATIONS)
    for number, start in enumerate(range(0, edges, FILE_EDGES)):
        path = directory / f"part-{number:04}.parquet"
        if path.exists():
            continue
        rows, generator = min(FILE_EDGES, edges - start), np.random.default_rng(number)
        of = np.minimum(generator.geometric(0.25, rows) - 1, len(RELATIONS) - 1).astype(np.int8)
        columns = {
            "user": (users * generator.random(rows) ** 2).astype(np.int64) * 7_919,
            "item": (items * generator.random(rows) ** 3).astype(np.int64) * 104_729,
            "kind": pa.DictionaryArray.from_arrays(pa.array(of), kinds),
        }
        aside = path.with_suffix(".partial")
        pq.write_table(pa.table(columns), aside, row_group_size=1 << 20)
        aside.rename(path)


def write_config(path: Path, options: argparse.Namespace) -> None:
    sides = {"lhs": {"type": "user", "column": "user"}, "rhs": {"type": "item", "column": "item"}}
    partitions = max(2, 2 ** math.ceil(math.log2(math.sqrt(options.edges / EDGES_IN_A_BUCKET))))
    graph = {
        "partitions": options.partitions or partitions,
        "memory_limit": options.memory_limit,
        "sources": {"log": {"path": "log/*.parquet"}},
        "entities": {"user": {}, "item": {}},
        "relations": [{"relation_column": "kind", "source": "log", **sides}],
    }
    model = {"operator": "transra", "anchors": RELATIONS[:1], "dimension": options.dimension, "epochs": 1}
    path.write_text(json.dumps({"graph": graph, "model": model}))


def kind_of(path: Path) -> str:
    """What a file below the scratch directory is: log, spill, buckets, ids or, above a graph, its stage."""
    if path.parts[0] == "log":
        return "log"
    if ".spill" in path.parts:
        return SPILL
    found = [name for part, name in GRAPH_FILES.items() if part in path.parts]
    return found[0] if found else next((part.split(".")[0] for part in path.parts[2:3]), "rest")


def planned(config: Path, stage: str) -> dict[str, int]:
    """What `transra STAGE --dry-run` says that it takes; nothing of a query, which has no plan."""
    if stage == "neighbors":
        return {}
    line = command(stage, config, "--dry-run", "--json")
    answer = subprocess.run(line, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True)
    stages: list[dict[str, Any]] = json.loads(answer.stdout)["stages"]
    expected: dict[str, int] = next(found for found in stages if found["stage"] == stage)["expected"]
    return expected


def run_stage(directory: Path, stage: str) -> dict[str, Any]:
    """One stage: its plan, what it took, and what disk it found before it."""
    config = directory / "billion.json"
    expected = planned(config, stage)
    line = command(stage, config)
    if stage == "neighbors":  # of the most frequent item
        line = [*line[:5], "item", "0", *line[5:]]
    before = sum(path.stat().st_blocks * 512 for path in directory.rglob("*") if path.is_file())
    took = watched(line, REPOSITORY, directory, kind_of)
    own = metrics_of(directory).get(stage, {}).get("seconds")
    return {
        "plan": expected,
        "stage_seconds": own,
        "disk_before": before,
        "disk_own": took["disk_bytes"] - before,
        **took,
    }


def metrics_of(directory: Path) -> dict[str, Any]:
    """What the stages have measured of themselves, by stage."""
    (path,) = (directory / "runs").glob("2*/metrics.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def told(stage: str, found: dict[str, Any], edges: int) -> str:
    def beside(value: float, plan: float | None, unit: float, name: str) -> str:
        return f"{value / unit:.2f} {name}" + (f" (plan {plan / unit:.2f})" if plan is not None else "")

    plan, own = found["plan"], found["stage_seconds"]
    itself = "" if own is None else f", the stage itself {beside(own, plan.get('seconds'), 1, 's')}"
    return (
        f"{stage}: {found['seconds']:.2f} s{itself}, {found['cpu_seconds']:.0f} s of processor, "
        f"memory {beside(found['peak_bytes'], plan.get('memory_bytes'), 1e9, 'GB')}, "
        f"disk of its own {beside(found['disk_own'], plan.get('disk_bytes'), 1e9, 'GB')}, "
        f"all disk {found['disk_bytes'] / edges:.1f} bytes an edge"
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--edges", type=lambda text: int(float(text)), default=1_000_000_000)
    arguments.add_argument("--dimension", type=int, default=32)
    arguments.add_argument("--partitions", type=int, help="of each type (about 4 M edges in a bucket)")
    arguments.add_argument("--memory-limit", default="10GB")
    arguments.add_argument("--scratch", type=Path, default=OUT / "billion")
    arguments.add_argument("--name", default="billion", help="of the result below benchmarks/out")
    options = arguments.parse_args()
    directory = options.scratch / f"{options.edges}_{options.dimension}"
    directory.mkdir(parents=True, exist_ok=True)
    done_path = directory / "done.json"
    done: dict[str, Any] = json.loads(done_path.read_text()) if done_path.exists() else {}
    if not done:
        require_room(directory, options)
        write_config(directory / "billion.json", options)
        begun = time.perf_counter()
        write_log(directory / "log", options.edges)
        done["log"] = {"seconds": time.perf_counter() - begun}
        done_path.write_text(json.dumps(done))
    for stage in STAGES:
        if stage not in done:
            done[stage] = run_stage(directory, stage)
            done_path.write_text(json.dumps(done))
        print(told(stage, done[stage], options.edges), flush=True)
    metrics = metrics_of(directory)
    save(
        options.name,
        {
            "edges": options.edges,
            "entities": metrics["partition"]["entities"],
            "dimension": options.dimension,
            "level": metrics["train"]["level"],
            "import_bytes_per_edge": done["partition"]["disk_bytes"] / options.edges,
            "by_kind_per_edge": {k: v / options.edges for k, v in done["partition"]["most_by_kind"].items()},
            "stages": done,
            "train": metrics["train"],
            "protocol": "one process a stage, from exec to exit; a plan's seconds beside the stage's own, without the "
            "start of the command and the measurements of the plan; memory and disk sampled",
            **surroundings(["duckdb", "torch", "h5py", "pyarrow"]),
        },
    )


def require_room(directory: Path, options: argparse.Namespace) -> None:
    """Raises SystemExit where the disk would not hold it all."""
    checkpoint = int(options.edges * ENTITIES_PER_EDGE) * (options.dimension + 1) * 4
    model = 3 * checkpoint  # with a snapshot, or with the export, which has degrees and ids as well
    need = max(options.edges * IMPORTING, options.edges * IMPORTED + model) + KEEP_FREE
    free = shutil.disk_usage(directory).free
    if free < need:
        raise SystemExit(f"{directory}: {need >> 30} GiB are needed, {free >> 30} are free; see --edges, --dimension")


if __name__ == "__main__":
    main()
