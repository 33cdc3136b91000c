"""Training on a GPU: edges a second, shares of what the card can do, and MRR beside the processors'.

    make bench-device                                  # on a card, for everything under 6 minutes
    python -m benchmarks.device.bench_device --device cpu     # the same code on the CPU device, at small sizes

Built to be run once by hand on a borrowed card: it needs this checkout, a torch that sees the card, and a partitioned
graph for MRR (`--graph DIR`; FB15k-237 is partitioned where its files are). `--run RUN --config C.json`: a run with an
export, for the ranker's examples a second.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

import pbg_transra.training.train
from artifacts.formats.graph import load_graph
from benchmarks.device.device_limits import SIZES, Sizes, limits, wait
from benchmarks.device.device_rates import WORLDS, Cell, World, rate
from benchmarks.environment import OUT, REPOSITORY, save, surroundings
from benchmarks.ranking.bench_rank_speed import Arm, prepared
from pbg_transra import EvaluateConfig, ModelConfig, evaluate, train
from pbg_transra.backends.device.backend import DeviceBackend
from pipeline.config.loading import load_config
from ranker.model.ranker_model import RankerModel
from ranker.training.trainer import Training

DIMENSIONS, NEGATIVES = (64, 128), (100, 1000)
BATCHES = {"cuda": (1_000, 10_000, 50_000), "cpu": (1_000,)}
EAGER_BATCH = 10_000
EPOCHS = 8
RANKER_ARMS, RANKER_BATCH, RANKER_SECONDS = ("none", "frozen_concat", "attention"), 2048, 5.0
GOAL = 20e6  # edges/s at d=128
PROTOCOL = (
    "rates: operator transr on a drawn graph of 13 relations, resident, fp32, dot, softmax, half of the negatives from "
    "the batch and half uniform; edges/s by the clock over whole segments, the first of which is warm-up; "
    "product_share: multiply-adds of the products times edges/s, by those of a large fp32 product in the same run; "
    "bandwidth_share: bytes of the tables' rows, read for gradients, read and written in the update, by a copy's; "
    "quality: the same config trained by processors and by the device, MRR on the test split"
)


def cells(kind: str) -> list[Cell]:
    found = [Cell(d, n, batch) for d in DIMENSIONS for n in NEGATIVES for batch in BATCHES[kind]]
    if kind == "cuda":
        found += [Cell(d, n, EAGER_BATCH, recorded=False) for d in DIMENSIONS for n in NEGATIVES]
    return found


def rates(device: torch.device, world: World, sizes: Sizes, chosen: list[Cell]) -> dict[str, Any]:
    """Limits and cells."""
    most = limits(device, sizes)
    found = []
    for cell in chosen:
        measured = rate(cell, world, device)
        if measured is not None:
            edges = measured["edges_per_second"]
            measured["product_share"] = cell.multiply_adds() * edges / most["multiply_adds"]
            measured["bandwidth_share"] = cell.row_bytes() * edges / most["bandwidth"]
        found.append({**vars(cell), "measured": measured})
        print(line(found[-1]), flush=True)
    return {"limits": most, "cells": found}


def line(cell: dict[str, Any]) -> str:
    """A row of a table in Markdown."""
    what = "recorded" if cell["recorded"] else "eager"
    about = f"| {cell['dimension']} | {cell['negatives']} | {cell['batch']} | {what} |"
    if (measured := cell["measured"]) is None:
        return f"{about} does not fit | | |"
    shares = f"{measured['product_share']:.0%} | {measured['bandwidth_share']:.0%}"
    return f"{about} {measured['edges_per_second'] / 1e6:.3f} M/s | {shares} |"


def partitioned() -> Path | None:
    """FB15k-237 as a graph, where its files are."""
    if not (REPOSITORY / "../shared/data/kge_fb15k237").exists():
        return None
    workspace = OUT / "device-workspace"
    words = ["configs/fb15k237.json", "--root", str(REPOSITORY), "--workspace", str(workspace), "--json"]
    command = [sys.executable, "-m", "pipeline.cli", "partition", *words]
    subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
    return max(workspace.glob("*/graph"), key=lambda path: path.stat().st_mtime)


def quality(graph: Path, device: torch.device, epochs: int) -> dict[str, Any]:
    """Loss, MRR and edges/s of both, with the same config."""
    anchored = len(load_graph(graph).relations) > 1
    config = ModelConfig(
        operator="transr",
        dimension=64,
        epochs=epochs,
        batch_size=1000,
        uniform_negatives=200,
        relation_lr=0.03,
        schedule="linear",
        pull=0.04 if anchored else 0,
    )
    found = {}
    for name in ("processors", device.type if device.type != "cpu" else "cpu device"):
        with tempfile.TemporaryDirectory() as directory:
            found[name] = one_quality(graph, Path(directory), config, None if name == "processors" else device)
        print(f"{name}: {found[name]}", flush=True)
    return found


def one_quality(graph: Path, directory: Path, config: ModelConfig, device: torch.device | None) -> dict[str, Any]:
    """`device`: None for the processors."""
    trained = pbg_transra.training.train
    made = trained.make_backend if device is None else lambda graph, config, *_: DeviceBackend(graph, config, device)
    with patch.object(trained, "make_backend", made):
        report = train(graph, directory, config, lambda progress: None, lambda done: None)
    metrics = evaluate(graph, directory, config, EvaluateConfig(max_edges=10_000), lambda label, fraction: None)
    rounded = {"edges_per_second": round(report.edges_per_second), "loss": report.loss}
    return {"level": report.level, "mrr": metrics["mrr"], "hits@10": metrics["hits@10"], **rounded}


def ranker(path: Path, run: Path, device: torch.device) -> dict[str, float]:
    """Examples a second of training, by the clock, of arms of a config on real records and a run's export."""
    config = load_config(path).ranker
    assert config is not None, f"{path} has no ranker"
    config = config.model_copy(update={"device": device.type})
    found = {}
    with tempfile.TemporaryDirectory() as directory:
        summary, export, records = prepared(config, REPOSITORY, run, Path(directory) / "prepared")
        for name in (arm for arm in RANKER_ARMS if arm in config.arms):
            model = RankerModel(config, config.arms[name], summary, export)
            (place := Path(directory) / name).mkdir()
            arm = Arm(Training(model, config, 0, 0, place), records, RANKER_BATCH)
            wait(device)
            began, steps = time.perf_counter(), 0
            while time.perf_counter() - began < RANKER_SECONDS:
                arm.steps(1)
                steps += 1
            wait(device)
            found[name] = steps * RANKER_BATCH / (time.perf_counter() - began)
            print(f"ranker, {name}: {found[name]:,.0f} examples/s", flush=True)
    return found


def main(arguments: list[str] | None = None, world: World | None = None, chosen: list[Cell] | None = None) -> None:
    """`world`, `chosen`: smaller ones, for tests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--graph", type=Path, help="a partitioned graph with a test split, for MRR (FB15k-237)")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--run", type=Path, help="a run with an export, for the ranker")
    parser.add_argument("--config", type=Path, default=REPOSITORY / "configs" / "demo_rank.json", help="of the ranker")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error(f"torch {torch.__version__} sees no GPU here; --device cpu runs the same code on processors")
    device = torch.device(options.device)
    print(device_name(device), "| d | negatives | batch | steps | edges | products | bandwidth |", sep="\n")
    graph = options.graph or partitioned()
    result = {
        "device": device_name(device),
        **rates(device, world or WORLDS[device.type], SIZES[device.type], chosen or cells(device.type)),
        "quality": None if graph is None else quality(graph, device, options.epochs),
        "ranker": None if options.run is None else ranker(options.config, options.run, device),
        "goal": GOAL,
        "protocol": PROTOCOL,
        **surroundings(["torch", "torchbiggraph", "numpy"]),
    }
    save("device", result)


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU device"


if __name__ == "__main__":
    main()
