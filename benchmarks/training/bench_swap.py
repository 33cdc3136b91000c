"""Training with partition swapping at scale: how long workers wait for files, and what it takes against its plan.

    make bench-swap
    python -m benchmarks.training.bench_swap --millions 100 --entities 5 --partitions 16 --dimension 128

One relation of two types. The plan is `transra train --dry-run`; the training is one whole process, its memory the
proportional set size of the process tree, sampled.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.environment import REPOSITORY, save, surroundings, timed_process
from benchmarks.synthetic_log import DISK_PER_EDGE, command, write_config, write_log

FLOAT, EDGE = 4, 24  # bytes; an edge in a buffer: lhs, rhs, rel as int64


def dry_run(config: Path) -> dict[str, int]:
    """What the plan says that training takes."""
    answer = subprocess.run(
        command("train", config, "--dry-run", "--json"), cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True
    )
    expected: dict[str, int] = json.loads(answer.stdout)["stages"][0]["expected"]
    return expected


def measure(options: argparse.Namespace, directory: Path) -> dict[str, Any]:
    edges, entities = int(options.millions * 1e6), int(options.entities * 1e6)
    config = directory / "c.json"
    model = {
        "operator": "transra",
        "anchors": ["click"],
        "dimension": options.dimension,
        "epochs": options.epochs,
        "overlap": not options.no_overlap,
    }
    write_log(directory / "log", edges, entities)
    write_config(config, options.partitions, "6GB", model)
    timed_process(command("partition", config), REPOSITORY)
    expected = dry_run(config)
    seconds, peak = timed_process(command("train", config), REPOSITORY)
    (run,) = (directory / "runs").glob("2*/metrics.json")
    metrics = json.loads(run.read_text())
    table = metrics["partition"]["entities"] * (options.dimension + 1) * FLOAT
    chunk = metrics["partition"]["edges"] // options.partitions**2 * EDGE
    slots = 2 if options.no_overlap else 4
    return {
        "edges": metrics["partition"]["edges"],
        "entities": metrics["partition"]["entities"],
        "train": metrics["train"],
        "wait_share": metrics["train"]["swap_seconds"] / seconds,
        "seconds": seconds,
        "peak_bytes": peak,
        "bound_bytes": slots * table // options.partitions + 4 * chunk,
        "expected": expected,
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--millions", type=float, default=100, help="edges")
    arguments.add_argument("--entities", type=float, default=5, help="millions")
    arguments.add_argument("--partitions", type=int, default=16)
    arguments.add_argument("--dimension", type=int, default=128)
    arguments.add_argument("--epochs", type=int, default=1)
    arguments.add_argument("--no-overlap", action="store_true")
    arguments.add_argument("--scratch", type=Path, help="where log, graph and model are written and removed")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-swap-", dir=options.scratch) as name:
        if (free := shutil.disk_usage(name).free) < (need := int(options.millions * 1e6) * DISK_PER_EDGE):
            raise SystemExit(f"{name}: {need >> 30} GiB are needed, {free >> 30} are free")
        found = measure(options, Path(name))
    print(
        f"{found['edges']:,} edges, {found['entities']:,} entities: {found['seconds']:.0f} s, "
        f"{found['train']['edges_per_second']:,.0f} edges/s, waited {found['wait_share']:.1%} of it; "
        f"peak {found['peak_bytes'] / 1e9:.2f} GB, tables and edges alone {found['bound_bytes'] / 1e9:.2f} GB; "
        f"expected {found['expected']}"
    )
    protocol = f"d={options.dimension}, {options.partitions} partitions a type, {options.epochs} epochs"
    save("swap", {**found, "protocol": protocol, **surroundings(["torch", "torchbiggraph", "h5py"])})


if __name__ == "__main__":
    main()
