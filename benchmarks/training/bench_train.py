"""Training against PyTorch-BigGraph as released and against what the machine can do, at each level of the kernels.

    make bench-train
    make bench-train ARGS="--level avx2"

Sides run in turn, each in a process of its own, so that a busy moment of the machine hits all of them.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from artifacts.formats.graph import Graph, edge_path, load_graph
from artifacts.machine.resources import cpu_count
from benchmarks.environment import OUT, REPOSITORY, save, surroundings
from benchmarks.training.train_limits import multiply_adds_per_edge
from benchmarks.training.train_sides import BATCH, NEGATIVES, Rate
from pbg_transra.backends.fused.levels import VARIABLE, possible_levels

PYKEEN = OUT / "pykeen" / "bin" / "python"
DIMENSIONS = (64, 128)
SIDES = ("peer", "ours")
# What holds torch to a level where the machine could do more. MKL heeds its variable on processors of Intel alone.
TORCH_AT = {
    "avx512": {},
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "baseline": {"ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
    "torch": {},
}
PROTOCOL = (
    "demo graph in one partition, fp32, dot, softmax, batch 1000, 50 batch + 50 uniform negatives per positive; "
    "peer: torchbiggraph's own training, operator 'linear' (right side only) on all relations, torch held to the level "
    "(MKL by its variable, which it ignores on AMD); "
    "ours: two-sided, one projection per relation, TRANSRA_KERNELS=level; "
    "both: edges/s per epoch, from handing the edges to the workers until the last is done, the first epoch is "
    "warm-up, median of the others; all in turn, medians of the rounds; "
    "per_processor_second: the same by the workers' processor time instead of the clock; "
    "limits: of a core, by processor time, the best of 20: multiply-adds in registers, bytes of gathered rows; "
    "peak_share: multiply-adds of a step's products times ours' edges per second of processor time, by that limit"
)


def one_partition(root: Path) -> Path:
    """The demo graph in a single partition; made once."""
    workspace = OUT / "train-workspace"
    settings = ["--set", "graph.partitions=1", "--workspace", str(workspace), "--root", str(root), "--json"]
    command = [sys.executable, "-m", "pipeline.cli", "partition", "configs/demo.json", *settings]
    subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
    return max(workspace.glob("*/graph"), key=lambda path: path.stat().st_mtime)


def said(side: str, graph: Path, dimension: int, workers: int, level: str) -> dict[str, float]:
    """What a side prints at a level."""
    arguments = [side, str(graph), str(dimension), str(workers)]
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.training.train_sides", *arguments]
    environment = {**os.environ, **TORCH_AT[level], VARIABLE: level}
    run = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    found: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    print(f"{level} d={dimension} {side}: {', '.join(f'{k} {v:,.0f}' for k, v in found.items())}", flush=True)
    return found


@dataclass
class Level:
    """What the sides gave at a level, by dimension and in order of the rounds."""

    name: str
    rates: dict[str, dict[int, list[Rate]]] = field(
        default_factory=lambda: {side: {d: [] for d in DIMENSIONS} for side in SIDES}
    )
    limits: dict[int, list[dict[str, float]]] = field(default_factory=lambda: {d: [] for d in DIMENSIONS})

    def measure(self, graph: Path, workers: int) -> None:
        """One round."""
        for d in DIMENSIONS:
            self.limits[d].append(said("limits", graph, d, workers, self.name))
            for side in SIDES:
                self.rates[side][d].append(Rate(**said(side, graph, d, workers, self.name)))

    def medians(self, side: str, measure: int) -> dict[int, float]:
        return {d: statistics.median(rate[measure] for rate in found) for d, found in self.rates[side].items()}

    def compared(self, measure: int) -> dict[str, Any]:
        """By one of the two measures of a Rate."""
        peer, ours = (self.medians(side, measure) for side in SIDES)
        ratios = {d: ours[d] / peer[d] for d in DIMENSIONS}
        return {"ratio": ratios[64], "ratios": ratios, "peer": peer, "ours": ours}

    def limit(self, name: str) -> dict[int, float]:
        return {d: max(limits[name] for limits in found) for d, found in self.limits.items()}

    def result(self) -> dict[str, Any]:
        per_edge = {d: multiply_adds_per_edge(d, BATCH, NEGATIVES, NEGATIVES, self.name) for d in DIMENSIONS}
        ours, most = self.medians("ours", 1), self.limit("multiply_adds")
        return {
            "level": self.name,
            **self.compared(0),
            "per_processor_second": self.compared(1),
            "peak_share": {d: per_edge[d] * ours[d] / most[d] for d in DIMENSIONS},
            "multiply_adds_per_edge": per_edge,
            "limits": {"multiply_adds": most, "gather_bytes": self.limit("gather_bytes")},
            "rounds": self.rates,
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
    command = [str(PYKEEN), "-W", "ignore", "benchmarks/training/pykeen_rate.py", str(sample), str(dimension)]
    run = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    print(f"d={dimension} PyKEEN TransR, {edges} edges: {found['edges_per_second']:,.0f} edges/s", flush=True)
    return found


def table(results: Sequence[dict[str, Any]]) -> str:
    """Markdown, by processor time."""
    lines = ["| level | d | PBG | ours | ratio | by the clock | share of the peak |", "|---|---|---|---|---|---|---|"]
    for result in results:
        found = result["per_processor_second"]
        for d in DIMENSIONS:
            rates = f"{found['peer'][d] / 1e3:.0f} k | {found['ours'][d] / 1e3:.0f} k | {found['ratios'][d]:.2f}"
            share = f"{result['ratios'][d]:.2f} | {result['peak_share'][d]:.0%}"
            lines.append(f"| {result['level']} | {d} | {rates} | {share} |")
    return "\n".join(lines)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--level", action="append", choices=possible_levels(), help="again for more (all compiled)")
    arguments.add_argument("--root", type=Path, default=REPOSITORY, help="below which data/demo lies (the checkout)")
    arguments.add_argument("--sample", type=int, default=5_000, help="edges for PyKEEN")
    options = arguments.parse_args()
    graph, workers = one_partition(options.root), min(2, cpu_count())
    world = load_graph(graph)
    compiled = [level for level in possible_levels() if level != "torch"] or ["torch"]
    levels = [Level(name) for name in options.level or compiled]
    for _ in range(options.rounds):
        for level in levels:
            level.measure(graph, workers)
    results = [level.result() for level in levels]
    result = {
        **results[0],
        "levels": {found["level"]: found for found in results},
        "pykeen": pykeen_rate(world, graph, 64, options.sample),
        "sizes": {"edges": world.edges("train"), "relations": len(world.relations), "workers": workers},
        "protocol": PROTOCOL,
        **surroundings(["torchbiggraph", "torch", "numpy"]),
    }
    print(result["machine"], table(results), sep="\n")
    save("train", result)


if __name__ == "__main__":
    main()
