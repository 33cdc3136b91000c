"""Training examples a second of our arms, of the clock and of processor time, one thread.

    python -m benchmarks.ranking.comparison.speed CONFIG --rows OUT --run RUN --arm attention --batch 2048

`--rows` is what rows.py beside it prepared. Steps are taken as in training; the first ten and validation are left out,
making batches into tensors is not.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from artifacts.embeddings import Embeddings
from benchmarks.ranking.comparison.data import ranker_config
from benchmarks.ranking.comparison.rows import prepared_rows
from ranker.config.sections import RankerConfig
from ranker.data.ids.exports import Export
from ranker.data.records import Split, Summary
from ranker.model.ranker_model import RankerModel
from ranker.training.trainer import Training

EVERY = 10  # steps between two calls of a training's watch
STEPS = 40


class Enough(Exception):
    """Enough steps were seen."""


def speed(config: RankerConfig, summary: Summary, rows: Path, export: Embeddings | None, arm: str) -> dict[str, float]:
    """Steps of `config.training.batch_size` on the training rows."""
    train, valid = (Split.of(rows / "prepared", name, summary) for name in ("train", "valid"))
    stamps: list[tuple[float, float]] = []

    def watch(fraction: float, last: dict[str, Any]) -> None:
        stamps.append((time.perf_counter(), time.process_time()))
        if len(stamps) > STEPS // EVERY:
            raise Enough

    torch.manual_seed(0)
    model = RankerModel(config, config.arms[arm], summary, export)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            Training(model, config, 0, 0, Path(scratch)).run(train, valid, watch)
        except Enough:
            return rate(stamps, min(config.training.batch_size or 0, len(train)))
    raise RuntimeError(f"{config.training.epochs} epochs of {len(train)} rows have fewer than {STEPS + EVERY} steps")


def rate(stamps: Sequence[tuple[float, float]], batch: int) -> dict[str, float]:
    """Examples a second from the moments, of both clocks, after every EVERY steps."""
    examples = batch * EVERY * (len(stamps) - 1)
    clock, processor = (stamps[-1][k] - stamps[0][k] for k in (0, 1))
    return {
        "batch": batch,
        "examples_per_second": examples / clock,
        "examples_per_processor_second": examples / processor,
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("config", type=Path)
    arguments.add_argument("--rows", type=Path, required=True)
    arguments.add_argument("--run", type=Path)
    arguments.add_argument("--root", type=Path, default=Path())
    arguments.add_argument("--arm", required=True)
    arguments.add_argument("--batch", type=int, required=True)
    arguments.add_argument("--out", type=Path, required=True)
    options = arguments.parse_args()
    config = ranker_config(options.config)
    summary = prepared_rows(config, options.root, options.run, options.rows)
    batch = min(options.batch, summary.counts["train"]["rows"])
    steady = {"batch_size": batch, "epochs": 1000, "eval_every": 1 << 40, "keep_negatives": 1.0}
    config = config.model_copy(update={"training": config.training.model_copy(update=steady)})
    torch.set_num_threads(1)
    export = None if options.run is None else Embeddings(Export.of_run(options.run).path)
    options.out.write_text(json.dumps(speed(config, summary, options.rows, export, options.arm)))


if __name__ == "__main__":
    main()
