"""A night after a day that adds 1 % of the events: new files only (`append_only`) against everything again.

    make bench-append
    python -m benchmarks.nights.bench_append --millions 20 --rounds 3

Both sides are one `transra partition` as a whole process, from exec to exit, on the same log and after the same
published graph, whose places both keep; they run in turn. The log has one Parquet file a day, two entities to five
events, ids are 64-bit integers, every day brings new ones; the split by time moves on by a day.
"""

import argparse
import json
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.environment import REPOSITORY, save, surroundings, timed
from benchmarks.synthetic_log import DISK_PER_EDGE, ENTITIES_PER_EDGE, command
from pipeline.workspace.workspace import Workspace

DAYS = 100  # before the night that is measured
DAY = 86_400
SIDES = {"append": [], "full": ["--set", "graph.sources.log.append_only=false"]}


def write_day(directory: Path, day: int, events: int) -> None:
    """A day's clicks and views: half of the tails follow a Zipf law with exponent 1.3, the others are drawn evenly."""
    generator = np.random.default_rng(day)
    side = max(int(events * ENTITIES_PER_EDGE / 2) * (day + 1), 1)
    ads = generator.zipf(1.3, events) % side
    ads[: events // 2] = generator.integers(0, side, events // 2)
    columns = {
        "user": generator.integers(0, side, events) * 7_919,
        "ad": ads * 104_729,
        "click": generator.random(events) < 0.1,
        "ts": np.sort(generator.integers(day * DAY, (day + 1) * DAY, events)),
    }
    table = pa.table({name: pa.array(column) for name, column in columns.items()})
    pq.write_table(table, directory / f"day-{day:03}.parquet")


def write_config(path: Path, partitions: int, weighted: bool, day: int) -> None:
    """The last two days are held out."""
    user, ad = {"type": "user", "column": "user"}, {"type": "ad", "column": "ad"}
    log = {"path": "log/*.parquet", "time_column": "ts", "time_unit": "s", "append_only": True}
    relation = {"source": "log", "lhs": user, "rhs": ad, **({"weight": "1"} if weighted else {})}
    graph = {
        "partitions": partitions,
        "memory_limit": "6GB",
        "sources": {"log": log},
        "entities": {"user": {}, "ad": {}},
        "relations": [
            {**relation, "name": "click", "where": "click"},
            {**relation, "name": "view", "where": "NOT click"},
        ],
        "split": {"time": {"valid_from": (day - 1) * DAY, "test_from": day * DAY}},
    }
    path.write_text(json.dumps({"graph": graph, "model": {"operator": "transr"}}))


def measure(directory: Path, millions: float, partitions: int, weighted: bool, rounds: int) -> dict[str, Any]:
    """Medians of both sides, their ratios, and what they made."""
    (directory / "log").mkdir()
    events, config = int(millions * 1_000_000) // DAYS, directory / "c.json"
    for day in range(DAYS):
        write_day(directory / "log", day, events)
    write_config(config, partitions, weighted, DAYS - 1)
    workspace = Workspace(directory / "runs")
    timed(command("partition", config), REPOSITORY)
    workspace.publish(workspace.runs()[0])
    write_day(directory / "log", DAYS, events)
    write_config(config, partitions, weighted, DAYS)
    taken: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side, options in SIDES.items():
            taken[side].append(timed(command("partition", config, *options), REPOSITORY))
            run = workspace.runs()[0]
            made = run.metrics()["partition"]
            shutil.rmtree(run.path)
    sides = {side: {key: statistics.median(one[key] for one in all) for key in all[0]} for side, all in taken.items()}
    return {
        **{key: made[key] for key in ("edges", "entities")},
        "partitions": partitions,
        "weighted": weighted,
        **sides,
        "ratio": sides["append"]["seconds"] / sides["full"]["seconds"],
        "cpu_ratio": sides["append"]["cpu_seconds"] / sides["full"]["cpu_seconds"],
        "rounds": taken,
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--millions", type=float, nargs="+", default=[10, 20])
    arguments.add_argument("--partitions", type=int, default=4)
    arguments.add_argument("--weighted", action="store_true", help="sum repeated events into weights")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--scratch", type=Path, help="where logs and graphs are written and removed")
    options = arguments.parse_args()
    runs = []
    for millions in options.millions:
        with tempfile.TemporaryDirectory(prefix="bench-append-", dir=options.scratch) as name:
            if (free := shutil.disk_usage(name).free) < (needed := int(3e6 * millions * DISK_PER_EDGE)):
                raise SystemExit(f"{name}: {needed >> 30} GiB are needed, {free >> 30} are free")
            run = measure(Path(name), millions, options.partitions, options.weighted, options.rounds)
        runs.append(run)
        print(f"{run['edges']:,} edges, {run['entities']:,} entities", end="")
        for side in SIDES:
            print(", {}: {seconds:.1f} s, {cpu_seconds:.1f} s of processor".format(side, **run[side]), end="")
        print(f", ratio {run['ratio']:.3f}, of processor time {run['cpu_ratio']:.3f}", flush=True)
    result = {
        "ratio": runs[-1]["ratio"],  # seconds of a night that reads 1 % more events over those of a full build
        "ours": runs,
        "protocol": "whole processes from exec to exit in turn, medians; 1 % more after 100 days, same published map",
        **surroundings(["duckdb", "pyarrow", "h5py"]),
    }
    save("append", result)


if __name__ == "__main__":
    main()
