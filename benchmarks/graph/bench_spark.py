"""One graph built by DuckDB and by Spark (`local[2]`), in turn, on a growing log: seconds, processor time, memory.

    make bench-spark
    python -m benchmarks.graph.bench_spark --millions 1 5 --rounds 2

Each is one `transra partition` as a whole process, from exec to exit, of the log of `bench_import_scale`, and the bytes
of both graphs are compared. Processor time is that of the whole process tree (Java and its workers too), sampled, since
Spark's workers are nobody's to wait for.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import psutil

from benchmarks.environment import REPOSITORY, save, surroundings, timed_process
from benchmarks.synthetic_log import write_config, write_log

ENGINES = ("duckdb", "spark")
_SAMPLE_SECONDS = 0.2


class TreeTime(threading.Thread):
    """Processor seconds of all processes that this one has begun while it runs, of each as it was last seen."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._ended, self._seen = threading.Event(), dict[tuple[int, float], float]()

    def run(self) -> None:
        while not self._ended.wait(_SAMPLE_SECONDS):
            for process in psutil.Process().children(recursive=True):
                try:
                    times = process.cpu_times()
                    self._seen[process.pid, process.create_time()] = times.user + times.system
                except psutil.NoSuchProcess:
                    continue

    def seconds(self) -> float:
        """Ends the count."""
        self._ended.set()
        self.join()
        return sum(self._seen.values())


def command(directory: Path, engine: str) -> list[str]:
    place = ["--root", str(directory), "--workspace", str(directory / engine), "--quiet"]
    asked = ["--set", f"graph.engine={engine}", "--set", "graph.spark.master=local[2]"]
    return [sys.executable, "-m", "pipeline.cli", "partition", str(directory / "c.json"), *place, *asked]


def measure(directory: Path, engine: str) -> dict[str, Any]:
    shutil.rmtree(directory / engine, ignore_errors=True)
    tree = TreeTime()
    tree.start()
    seconds, peak = timed_process(command(directory, engine), REPOSITORY)
    return {"engine": engine, "seconds": seconds, "cpu_seconds": tree.seconds(), "peak_bytes": peak}


def require_same(directory: Path) -> int:
    """The edges of both graphs, whose files must be the same bytes."""
    one, other = (next((directory / engine).glob("2*/graph")) for engine in ENGINES)
    names = {path.relative_to(one) for path in one.rglob("*") if path.is_file() and path.name != "stage.json"}
    different = [name for name in sorted(names) if (one / name).read_bytes() != (other / name).read_bytes()]
    if different:
        raise SystemExit(f"{different[0]} and {len(different) - 1} more files differ")
    return int(json.loads((one / "stage.json").read_text())["metrics"]["edges"])


def measure_size(millions: float, rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="bench-spark-") as name:
        directory = Path(name)
        write_log(directory / "log", int(millions * 1e6), int(millions * 4e5))
        write_config(directory / "c.json", 4, "2GB", {"operator": "transr"})
        runs = [measure(directory, engine) for _ in range(rounds) for engine in ENGINES]
        edges = require_same(directory)
    for engine in ENGINES:
        mine = [run for run in runs if run["engine"] == engine]
        middle = {key: statistics.median(run[key] for run in mine) for key in ("seconds", "cpu_seconds", "peak_bytes")}
        print(
            f"{edges:,} edges, {engine}: {middle['seconds']:.1f} s, processor {middle['cpu_seconds']:.1f} s, "
            f"memory {middle['peak_bytes'] / (1 << 20):,.0f} MiB (medians of {rounds})"
        )
    return {"edges": edges, "runs": runs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=float, nargs="+", default=[1.0, 5.0])
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args()
    sizes = [measure_size(millions, asked.rounds) for millions in asked.millions]
    save("bench_spark", {**surroundings(["duckdb", "pyspark", "numpy"]), "sizes": sizes})


if __name__ == "__main__":
    main()
