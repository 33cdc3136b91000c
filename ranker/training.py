"""One model, trained: evaluated inside the epoch, stopped per task, resumed where a kill left it."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from artifacts.errors import DataError
from ranker.batch import Batch
from ranker.config import RankerConfig
from ranker.losses import losses
from ranker.model import RankerModel
from ranker.predictions import evaluate
from ranker.rowwise_adagrad import RowwiseAdagrad
from ranker.store import Records, Split

LEAST_DECAY = 0.01  # the number of steps is an estimate where negatives are down-sampled
TOLERANCE = 0.1  # standard errors of a validation loss; two steps of one training differ by about so much by chance
EVALUATIONS = 4  # in an epoch, unless `eval_every` says otherwise

Watch = Callable[[float, dict[str, Any]], None]


@dataclass
class Progress:
    """Where a training stands. `best` holds the step whose weights each task keeps, and their validation loss."""

    step: int = 0
    best: dict[str, tuple[int, float]] = field(default_factory=dict)
    lowest: dict[str, float] = field(default_factory=dict)
    waited: dict[str, int] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)

    def note(self, metrics: dict[str, dict[str, float | None]]) -> list[str]:
        """Takes a validation down; returns the tasks that keep the weights of this step.

        Where positives are few, differences between validations are mostly chance: a later step is kept unless it is
        worse than the lowest loss by more than TOLERANCE standard errors. A task waits until the lowest loss falls.
        """
        self.history.append({"step": self.step, **metrics})
        kept = []
        for task, found in metrics.items():
            loss, error = found["logloss"], found["logloss_error"]
            if loss is None or error is None:
                continue
            lowest = self.lowest.get(task, np.inf)
            self.waited[task] = 0 if loss < lowest else self.waited.get(task, 0) + 1
            self.lowest[task] = min(loss, lowest)
            if loss <= self.lowest[task] + TOLERANCE * error:
                self.best[task] = (self.step, loss)
                kept.append(task)
        return kept


class Training:
    """Trains a model in place on one split and keeps, in `directory`, the best weights of each task.

    `state.pt` is where an interrupted training goes on; `best_<task>.pt` are weights. The order of rows, the rows that
    down-sampling drops and the initial weights follow from the seed.
    """

    def __init__(self, model: RankerModel, config: RankerConfig, export: int, seed: int, directory: Path) -> None:
        self.model, self.config, self.export, self.seed, self.directory = model, config, export, seed, directory
        training, tables = config.training, model.tables()
        sparse = {id(parameter) for found in tables.values() for parameter in found}
        dense = [parameter for parameter in model.parameters() if id(parameter) not in sparse]
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(dense, training.lr, weight_decay=training.weight_decay),
            *(RowwiseAdagrad(found, getattr(config, name).lr) for name, found in tables.items() if found),
        ]
        self.rates = [optimizer.param_groups[0]["lr"] for optimizer in self.optimizers]
        self.progress = Progress()

    def run(self, train: Split, valid: Split, watch: Watch) -> Progress:
        """Trains to the end or until every task has waited `patience` validations."""
        steps = self._steps(train)
        every = self.config.training.eval_every or -(-steps // EVALUATIONS)
        self._resume()
        for records in self._batches(train):
            if self._done():
                break
            self._step(Batch.of(records, self.export), 1 - self.progress.step / steps)
            if self.progress.step % every == 0:
                self._validate(valid)
            if self.progress.step % 10 == 0:
                watch(min(self.progress.step / steps, 1.0), self.progress.history[-1] if self.progress.history else {})
        if not self._done() and self._last_seen() != self.progress.step:
            self._validate(valid)
        return self.progress

    def _last_seen(self) -> int:
        """The step of the last validation, -1 before the first."""
        return int(self.progress.history[-1]["step"]) if self.progress.history else -1

    def _done(self) -> bool:
        waited = self.progress.waited
        return bool(waited) and min(waited.values()) >= self.config.training.patience

    def _steps(self, train: Split) -> int:
        """About how many steps all epochs take."""
        training = self.config.training
        return max(int(training.epochs * train.expected_rows(training.keep_negatives) / training.batch_size), 1)

    def _batches(self, train: Split) -> Iterator[Records]:
        """The batches of all epochs, without those that a resumed training has taken."""
        training, position = self.config.training, 0
        for epoch in range(training.epochs):
            rng = np.random.default_rng([self.seed, epoch])
            for records in train.shuffled(rng, training.buffer_rows, training.keep_negatives):
                for first in range(0, len(records), training.batch_size):
                    position += 1
                    if position > self.progress.step:
                        yield records[first : first + training.batch_size]

    def _step(self, batch: Batch, decay: float) -> None:
        """One step at `decay` times the learning rates, which fall to 0 by the end: late steps average out noise."""
        self.model.train()
        for optimizer, lr in zip(self.optimizers, self.rates, strict=True):
            optimizer.zero_grad()
            for group in optimizer.param_groups:
                group["lr"] = lr * max(decay, LEAST_DECAY)
        found = losses(self.model(batch), batch, self.config, self.config.training.keep_negatives)
        total = torch.stack(list(found.values())).sum()
        if not torch.isfinite(total):
            raise DataError(f"training diverged at step {self.progress.step}: lower ranker.training.lr")
        total.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        self.progress.step += 1

    def _validate(self, valid: Split) -> None:
        for task in self.progress.note(evaluate(self.model, valid, self.export)):
            save(self.directory / f"best_{task}.pt", self.model.state_dict())
        self._save_state()

    def _save_state(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "random": torch.get_rng_state(),
            "progress": vars(self.progress),
        }
        save(self.directory / "state.pt", state)

    def _resume(self) -> None:
        """Goes on where `state.pt` stands, or starts with the seed."""
        path = self.directory / "state.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        torch.set_rng_state(state["random"])
        self.progress = Progress(**state["progress"])


def save(path: Path, value: Any) -> None:
    """Replaces `path` in one step: a kill leaves the old file or the new one."""
    aside = path.with_name(f".{path.name}.partial")
    torch.save(value, aside)
    os.replace(aside, path)
