"""Growth of graph construction from Parquet: 1, 10 and 100 M edges, two entities to five edges, in turn.

    make bench-import
    python -m benchmarks.bench_import_scale --millions 1 10 50 100
    python -m benchmarks.bench_import_scale --millions 500 --entities-per-edge 0.1 --memory-limit 12GB

Every size is one `transra partition` as a whole process, from exec to exit; memory is the proportional set size of its
whole process tree, sampled. Ids are 64-bit integers; tails follow a Zipf law with exponent 1.3.
"""

import argparse
import json
import math
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.environment import save, surroundings, timed_process

REPOSITORY = Path(__file__).resolve().parents[1]
CHUNK = 5_000_000
ENTITIES_PER_EDGE = 0.4
DISK_PER_EDGE = 130  # log, graph and spill, with room


def write_log(directory: Path, edges: int, entities: int) -> None:
    """Files of at most CHUNK clicks: half of the entities are users, drawn evenly; the others are ads."""
    generator, side = np.random.default_rng(0), max(entities // 2, 1)
    directory.mkdir()
    for number, start in enumerate(range(0, edges, CHUNK)):
        rows = min(CHUNK, edges - start)
        users = generator.integers(0, side, rows) * 7_919
        ads = generator.zipf(1.3, rows) % side
        ads[: rows // 2] = generator.integers(0, side, rows // 2)  # else few ads would ever be seen
        columns = {"user": users, "ad": ads * 104_729, "ts": np.sort(generator.integers(0, 30 * 86_400, rows))}
        table = pa.table({name: pa.array(column) for name, column in columns.items()})
        pq.write_table(table, directory / f"part-{number:03}.parquet", row_group_size=1 << 20)


def write_config(path: Path, partitions: int, memory_limit: str, model: dict[str, Any]) -> None:
    """A config beside the log: one relation of two types."""
    user, ad = {"type": "user", "column": "user"}, {"type": "ad", "column": "ad"}
    graph = {
        "partitions": partitions,
        "memory_limit": memory_limit,
        "sources": {"log": {"path": "log/*.parquet", "time_column": "ts", "time_unit": "s"}},
        "entities": {"user": {}, "ad": {}},
        "relations": [{"name": "click", "source": "log", "lhs": user, "rhs": ad}],
    }
    path.write_text(json.dumps({"graph": graph, "model": model}))


def command(stage: str, config: Path, *options: str) -> list[str]:
    """The command line of a stage, with everything beside its config."""
    place = ["--root", str(config.parent), "--workspace", str(config.parent / "runs"), "--quiet"]
    return [sys.executable, "-m", "pipeline.cli", stage, str(config), *place, *options]


def measure(millions: float, entities: float, memory_limit: str, scratch: Path | None) -> dict[str, Any]:
    """Seconds, edges/s, peak memory and entities of one size; `entities` are drawn for every edge."""
    edges = int(millions * 1_000_000)
    partitions = max(4, 2 ** math.ceil(math.log2(math.sqrt(edges / 2_000_000))))  # at most 2 M edges in a bucket
    with tempfile.TemporaryDirectory(prefix="bench-import-", dir=scratch) as name:
        directory = Path(name)
        if (free := shutil.disk_usage(directory).free) < edges * DISK_PER_EDGE:
            raise SystemExit(f"{directory}: {edges * DISK_PER_EDGE >> 30} GiB are needed, {free >> 30} are free")
        write_log(directory / "log", edges, int(edges * entities))
        write_config(directory / "c.json", partitions, memory_limit, {"operator": "transr"})
        seconds, peak = timed_process(command("partition", directory / "c.json"), REPOSITORY)
        (metrics,) = (json.loads(path.read_text()) for path in (directory / "runs").glob("2*/metrics.json"))
    return {
        "edges": metrics["partition"]["edges"],
        "entities": metrics["partition"]["entities"],
        "partitions": partitions,
        "memory_limit": memory_limit,
        "seconds": seconds,
        "edges_per_second": edges / seconds,
        "peak_bytes": peak,
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--millions", type=float, nargs="+", default=[1, 10, 100])
    arguments.add_argument("--entities-per-edge", type=float, default=ENTITIES_PER_EDGE)
    arguments.add_argument("--memory-limit", default="6GB")
    arguments.add_argument("--scratch", type=Path, help="where logs and graphs are written and removed")
    options = arguments.parse_args()
    runs = []
    for millions in options.millions:
        runs.append(run := measure(millions, options.entities_per_edge, options.memory_limit, options.scratch))
        print(
            f"{run['edges']:,} edges, {run['entities']:,} entities: {run['seconds']:.1f} s, "
            f"{run['edges_per_second']:,.0f} edges/s, peak {run['peak_bytes'] / 1e9:.2f} GB "
            f"(memory_limit {run['memory_limit']})",
            flush=True,
        )
    smallest, largest = (runs[at]["edges_per_second"] for at in (0, -1))
    result = {
        "ratio": smallest / largest,  # seconds per edge of the largest over those of the smallest
        "ours": runs,
        "protocol": "whole processes from exec to exit, one of each size; Parquet, digests and manifest included",
        **surroundings(["duckdb", "pyarrow", "h5py"]),
    }
    save("_".join(["import_scale", *(f"{millions:g}" for millions in options.millions)]), result)


if __name__ == "__main__":
    main()
