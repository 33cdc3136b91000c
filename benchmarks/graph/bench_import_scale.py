"""Growth of graph construction from Parquet: 1, 10 and 100 M edges, two entities to five edges, in turn.

    make bench-import
    python -m benchmarks.graph.bench_import_scale --millions 1 10 50 100
    python -m benchmarks.graph.bench_import_scale --millions 500 --entities-per-edge 0.1 --memory-limit 12GB

Every size is one `transra partition` as a whole process, from exec to exit; memory is the proportional set size of its
whole process tree, sampled. The log is that of synthetic_log.py.
"""

import argparse
import json
import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.environment import REPOSITORY, save, surroundings, timed_process
from benchmarks.synthetic_log import DISK_PER_EDGE, ENTITIES_PER_EDGE, command, write_config, write_log


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
