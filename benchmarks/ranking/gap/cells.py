"""A cell is one training: an arm on the vectors of one gap, drawn with one seed. Each is kept, and made once."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from artifacts.embeddings import Embeddings
from artifacts.files.publish import write_json
from benchmarks.ranking.gap.draws import KINDS, Array, DrawnExport, Gap, GappedModel, entity_types
from ranker.config.sections import RankerConfig
from ranker.data.ids.exports import Export, open_exports
from ranker.data.log.impression_log import ImpressionLog
from ranker.data.log.windows import Windows
from ranker.data.prepare import prepare
from ranker.data.records import Split, Summary
from ranker.evaluation.comparison import sigmoid
from ranker.evaluation.predictions import Truth, predict
from ranker.training.trainer import Training

ARMS = ("none", "frozen_concat", "attention")
NO_GAP = Gap("none", 0)
SPLIT = "graph.split.time"
STARTS = np.array(["2026-01-28", "2026-01-29"], "datetime64[D]")  # of valid and test in the demo config's graph


@dataclass(frozen=True)
class Cell:
    arm: str
    gap: Gap
    seed: int

    @property
    def name(self) -> str:
        return f"{self.arm}-{self.gap.kind}-{self.gap.size:g}-{self.seed}"


def cells(seeds: Sequence[int]) -> Iterator[Cell]:
    """All of them; the arm that reads no vectors is trained once a seed. Wholes first, so that a part can be told."""
    for seed in seeds:
        yield from (Cell(arm, NO_GAP, seed) for arm in ARMS)
        for kind, one in KINDS.items():
            yield from (Cell(arm, Gap(kind, size), seed) for size in one.sizes for arm in ARMS if arm != "none")


class Graphs:
    """Runs of the demo world's graph whose windows end some days earlier, made where they are missing."""

    def __init__(self, config: Path, root: Path, directory: Path) -> None:
        self._config, self._root, self._directory = config, root, directory

    def run(self, days: int) -> Path:
        workspace = self._directory / str(days)
        words = [str(self._config), "--root", str(self._root), "--workspace", str(workspace), "--quiet"]
        for stage in ("partition", "train", "export"):
            command = [sys.executable, "-m", "pipeline.cli", stage, *words, *self._windows(days)]
            subprocess.run(command, check=True, cwd=self._root)
        return (workspace / "latest").resolve()

    @staticmethod
    def _windows(days: int) -> list[str]:
        valid, test = STARTS - days
        ends = {"valid_from": valid, "test_from": test, "until": STARTS[1]} if days else {}
        return [word for name, day in ends.items() for word in ("--set", f"{SPLIT}.{name}={day}")]


class Experiment:
    """One log, prepared once with the exports of all ages, and the cells on it."""

    def __init__(self, config: RankerConfig, root: Path, runs: dict[int, Path], directory: Path, key: str) -> None:
        self.config, self._directory, self._key = config, directory, key
        exports = {str(days): Export.of_run(run) for days, run in runs.items()}
        self._layers = {days: index for index, days in enumerate(runs)}
        self._paths = {days: exports[str(days)].path for days in runs}
        log, prepared = ImpressionLog(config, root), directory / "prepared"
        opened = open_exports(exports, config)
        self.summary: Summary = prepare(log, Windows.of(log), opened, key, prepared, lambda step, done: None)
        self.splits = {name: Split.of(prepared, name, self.summary) for name in ("train", "valid", "test")}
        self.truth = Truth.of(self.splits["test"])

    def made(self, cell: Cell) -> dict[str, Any]:
        """What is known of a cell, from an earlier call where there was one."""
        path = self._directory / "cells" / f"{cell.name}.json"
        if path.exists() and (found := json.loads(path.read_text()))["key"] == self._key:
            return dict(found)
        path.parent.mkdir(exist_ok=True)
        started = time.process_time()
        model = self.model(cell)
        logits = self._trained(model, cell)
        np.savez(path.with_suffix(".npz"), **{task: sigmoid(logits[task][self.truth.rows(task)]) for task in logits})
        found = {"key": self._key, "processor_seconds": time.process_time() - started}
        if cell.gap is NO_GAP:
            torch.save(model.state_dict(), path.with_suffix(".pt"))
        write_json(path, found)
        print(f"{cell.name}: {found['processor_seconds']:.0f} s", file=sys.stderr, flush=True)
        return found

    def probabilities(self, cell: Cell) -> dict[str, Array]:
        """Of the test rows that each task is judged on."""
        with np.load(self._directory / "cells" / f"{cell.name}.npz") as file:
            return {task: file[task] for task in file.files}

    def model(self, cell: Cell) -> GappedModel:
        """Before training."""
        torch.manual_seed(cell.seed)
        return GappedModel(
            self.config, self.config.arms[cell.arm], self.summary, self.export(cell), cell.gap.share_missing, cell.seed
        )

    def trained(self, cell: Cell) -> GappedModel:
        """The model of a cell without a gap, as it was best at the first task."""
        model = self.model(cell)
        model.load_state_dict(torch.load(self._directory / "cells" / f"{cell.name}.pt", weights_only=True))
        return model

    def export(self, cell: Cell) -> Embeddings | None:
        """The vectors of a cell, drawn by its seed."""
        if self.config.arms[cell.arm].vectors == "none":
            return None
        path = self._paths[cell.gap.days]
        return Embeddings(path) if cell.gap is NO_GAP else DrawnExport(path, cell.gap, self.types, cell.seed)

    @property
    def types(self) -> list[str]:
        return entity_types(self.config)

    def _trained(self, model: GappedModel, cell: Cell) -> dict[str, Array]:
        """Logits of the test rows, each task by its best weights on validation; those of the first task stay."""
        layer = self._layers[cell.gap.days]
        with tempfile.TemporaryDirectory() as scratch:
            training = Training(model, self.config, layer, cell.seed, Path(scratch))
            best = training.run(self.splits["train"], self.splits["valid"], lambda fraction, last: None).best
            found = {}
            for task in reversed(list(best)):
                model.load_state_dict(torch.load(Path(scratch) / f"best_{task}.pt", weights_only=True))
                found[task] = predict(model, self.splits["test"], layer)[task]
        return found
