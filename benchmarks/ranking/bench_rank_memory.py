"""Memory of the ranker as the log grows: one arm on logs of different lengths, each as a whole process.

    make bench-rank-memory
    python -m benchmarks.ranking.bench_rank_memory --millions 1 20 --arm attention --entities 1000000

Impressions are drawn at random and written chunk by chunk; the export holds random vectors. What is measured is the
proportional set size of the process tree from exec to exit: preparing, one epoch (a tenth of the negatives), the test
split, the intervals.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.embeddings import EmbeddingsWriter
from artifacts.formats.graph import EntityType, Graph, save_graph
from artifacts.formats.run import EMBEDDINGS, EXPORT, GRAPH
from benchmarks.environment import REPOSITORY, save, surroundings, timed_process
from ranker.config.arms import ARMS

CHUNK = 1_000_000
START, DAYS = 1_767_225_600, 10
DIMENSION, RECENT = 64, 10


def write_log(path: Path, rows: int, entities: int) -> None:
    """`rows` impressions of ten days, a tenth of them clicked."""
    generator = np.random.default_rng(0)
    writer: pq.ParquetWriter | None = None
    for first in range(0, rows, CHUNK):
        count = min(CHUNK, rows - first)
        recent = pa.array(generator.integers(0, entities, count * RECENT))
        columns = {
            "ts": np.sort(START + (first + generator.integers(0, count, count)) * DAYS * 86_400 // rows),
            "user_id": generator.integers(0, entities, count),
            "pin_id": generator.integers(0, entities, count),
            "recent": pa.ListArray.from_arrays(np.arange(0, count * RECENT + 1, RECENT, np.int32), recent),
            "hour": generator.integers(0, 24, count),
            "age": generator.normal(40, 12, count),
            "click": (generator.random(count) < 0.1).astype(np.int8),
        }
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table, row_group_size=1 << 18)
    if writer is not None:
        writer.close()


def write_run(run: Path, entities: int) -> None:
    """Random vectors of as many users and pins, and the graph.json beside them."""
    (run / GRAPH).mkdir(parents=True)
    (run / EXPORT).mkdir()
    types = ("user", "pin")
    save_graph(run / GRAPH, Graph(tuple(EntityType(name, (entities,)) for name in types), (), {}, (0, START - 1)))
    attributes = {"anchors": [], "operator": "none", "dimension": DIMENSION, "similarity": "cos", "scale": 1.0}
    generator = np.random.default_rng(1)
    with EmbeddingsWriter(
        run / EXPORT / EMBEDDINGS, {**attributes, "config_hash": "", "run_id": run.name, "metrics": {}}
    ) as writer:
        for name in types:
            names = ("seen:lhs", "seen:rhs")
            table = writer.entities(name, entities, sum(len(str(id)) for id in range(entities)), "float32", names)
            for first in range(0, entities, CHUNK):
                ids = np.arange(first, min(first + CHUNK, entities))
                vectors, degrees = generator.normal(size=(len(ids), DIMENSION)), generator.poisson(5, (len(ids), 2))
                table.append(pa.array(ids).cast(pa.large_string()), vectors, degrees)
            table.finish()


def config(arm: str) -> dict[str, Any]:
    return {
        "impressions": "log.parquet",
        "slots": {
            "user_id": {"type": "user", "side": "user"},
            "recent": {"type": "pin", "side": "user", "cap": RECENT},
            "pin_id": {"type": "pin", "side": "ad"},
        },
        "categoricals": ["hour"],
        "numerics": {"age": "quantile"},
        "labels": {"click": "click"},
        "arms": {arm: ARMS[arm].model_dump()},
        "training": {"keep_negatives": 0.1},  # all rows are read; training on all takes hours, not memory
    }


def measure(millions: float, entities: int, arm: str, scratch: Path | None) -> dict[str, Any]:
    """Rows, seconds and peak memory of one log."""
    rows = int(millions * 1_000_000)
    with tempfile.TemporaryDirectory(prefix="bench-rank-", dir=scratch) as name:
        root = Path(name)
        write_log(root / "log.parquet", rows, entities)
        write_run(root / "run", entities)
        (root / "config.json").write_text(json.dumps({"ranker": config(arm)}))
        command = [sys.executable, "-m", "ranker", str(root / "config.json"), "--root", name]
        seconds, peak = timed_process([*command, "--vectors", "run", "--out", str(root / "out")], REPOSITORY)
    return {"rows": rows, "entities": entities, "arm": arm, "seconds": seconds, "peak_bytes": peak}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--millions", type=float, nargs="+", default=[1, 20])
    arguments.add_argument("--entities", type=int, default=1_000_000, help="users, and as many pins")
    arguments.add_argument("--arm", default="attention", choices=list(ARMS))
    arguments.add_argument("--scratch", type=Path, help="where log and records are written and removed")
    options = arguments.parse_args()
    runs = []
    for millions in options.millions:
        runs.append(run := measure(millions, options.entities, options.arm, options.scratch))
        print(
            f"{run['rows']:,} impressions, arm {run['arm']}: peak {run['peak_bytes'] / (1 << 30):.2f} GiB, "
            f"{run['seconds']:.0f} s",
            flush=True,
        )
    result = {
        "ratio": runs[-1]["peak_bytes"] / runs[0]["peak_bytes"],  # of the longest log over the shortest
        "ours": runs,
        "protocol": "whole processes from exec to exit, one of each length; proportional set size, sampled",
        **surroundings(["torch", "pyarrow", "h5py"]),
    }
    save("rank_memory", result)


if __name__ == "__main__":
    main()
