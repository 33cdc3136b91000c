"""Training against PyTorch-BigGraph as released and against the matrix products alone, on the demo graph.

    make bench-train

Sides run in turn, each in a process of its own, so that a busy moment of the machine hits all of them.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from artifacts.graph import Graph, edge_path, load_graph
from artifacts.resources import cpu_count
from benchmarks.environment import OUT, save, surroundings
from benchmarks.train_sides import Rate

ROOT = Path(__file__).resolve().parents[1]
PYKEEN = OUT / "pykeen" / "bin" / "python"
DIMENSIONS = (64, 128)
SIDES = ("peer", "ours", "bound")
PROTOCOL = (
    "demo graph in one partition, fp32, dot, softmax, batch 1000, 50 batch + 50 uniform negatives per positive; "
    "peer: torchbiggraph's own training, operator 'linear' (right side only) on all relations; "
    "ours: two-sided, one projection per relation; both: edges/s per epoch, from handing the edges to the workers "
    "until the last is done, the first epoch is warm-up, median of the others; "
    "bound: only the matrix products of the two-sided model, by torch, forward and both "
    "gradients (projections of positives and uniform negatives, positives x uniform negatives, heads x tails within "
    "chunks once for both sides), uniform negatives drawn per chunk; ours computes the same products, not by torch; "
    "all in turn, medians of the rounds; per_processor_second: the same by the workers' processor time instead of the "
    "clock"
)


def one_partition() -> Path:
    """The demo graph in a single partition; made once."""
    workspace = OUT / "train-workspace"
    settings = ["--set", "graph.partitions=1", "--workspace", str(workspace), "--json"]
    command = [sys.executable, "-m", "pipeline.cli", "partition", "configs/demo.json", *settings]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return max(workspace.glob("*/graph"), key=lambda path: path.stat().st_mtime)


def rate(side: str, graph: Path, dimension: int, workers: int) -> Rate:
    arguments = [side, str(graph), str(dimension), str(workers)]
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.train_sides", *arguments]
    run = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    found = Rate(**json.loads(run.stdout.splitlines()[-1]))
    print(f"d={dimension} {side}: {found[0]:,.0f} edges/s, {found[1]:,.0f} per second of processor time", flush=True)
    return found


def compare(rates: dict[str, dict[int, list[Rate]]], measure: int) -> dict[str, Any]:
    """Medians of one of the two measures of a Rate, and their ratios by dimension."""
    median = {
        side: {d: statistics.median(rate[measure] for rate in found) for d, found in by_dimension.items()}
        for side, by_dimension in rates.items()
    }
    over = {side: {d: median["ours"][d] / median[side][d] for d in DIMENSIONS} for side in SIDES}
    return {
        "ratio": over["peer"][64],
        "ratios": over["peer"],
        "bound_share": over["bound"],
        **median,
    }


def pykeen_rate(world: Graph, graph: Path, dimension: int, edges: int) -> dict[str, float] | None:
    """PyKEEN's TransR on a sample, if its environment is there (make bench-train makes it)."""
    if not PYKEEN.exists():
        return None
    with h5py.File(edge_path(graph, "train") / "edges_0_0.h5") as file:
        columns = [file[name][:] for name in ("lhs", "rel", "rhs")]
    chosen = np.random.default_rng(0).choice(len(columns[0]), edges, replace=False)
    sample = OUT / "pykeen-sample.tsv"
    with sample.open("w") as lines:
        for head, number, tail in zip(*(column[chosen] for column in columns), strict=True):
            relation = world.relations[number]
            lines.write(f"{relation.lhs}{head}\t{relation.name}\t{relation.rhs}{tail}\n")
    command = [str(PYKEEN), "-W", "ignore", "benchmarks/pykeen_rate.py", str(sample), str(dimension)]
    run = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    print(f"d={dimension} PyKEEN TransR, {edges} edges: {found['edges_per_second']:,.0f} edges/s", flush=True)
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--sample", type=int, default=5_000, help="edges for PyKEEN")
    options = arguments.parse_args()
    graph, workers = one_partition(), min(2, cpu_count())
    world = load_graph(graph)
    rates: dict[str, dict[int, list[Rate]]] = {side: {d: [] for d in DIMENSIONS} for side in SIDES}
    for _ in range(options.rounds):
        for dimension in DIMENSIONS:
            for side in SIDES:
                rates[side][dimension].append(rate(side, graph, dimension, workers))
    result = {
        **compare(rates, 0),
        "per_processor_second": compare(rates, 1),
        "rounds": rates,
        "pykeen": pykeen_rate(world, graph, 64, options.sample),
        "sizes": {"edges": world.edges("train"), "relations": len(world.relations), "workers": workers},
        "protocol": PROTOCOL,
        **surroundings(["torchbiggraph", "torch", "numpy"]),
    }
    print(f"{result['machine']}: {result['ratio']:.2f} times the peer at d=64; share of bound {result['bound_share']}")
    save("train", result)


if __name__ == "__main__":
    main()
