"""One model, trained: evaluated inside the epoch, stopped per task, resumed where a kill left it."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from artifacts.errors import DataError
from artifacts.scalars import ScalarWriter
from ranker.config.sections import RankerConfig
from ranker.data.batch import Batch
from ranker.data.records import Records, Split
from ranker.evaluation.predictions import evaluate
from ranker.model.ranker_model import RankerModel
from ranker.processes import group
from ranker.processes.messages import from_first, mean_, take_first_
from ranker.training.calibration import calibrate_
from ranker.training.early_stopping import Progress
from ranker.training.losses import total_loss
from ranker.training.optimizers import AdamW, Optimizer, RowwiseAdagrad
from ranker.training.reports import Metrics
from ranker.training.weights import STATE, Trained, best_of, load_, set_intercept

LEAST_DECAY = 0.01  # the number of steps is an estimate where negatives are down-sampled
EVALUATIONS = 4  # in an epoch, unless `eval_every` says otherwise

Watch = Callable[[float, dict[str, Any]], None]
Validated = Callable[[int, int, Metrics], None]  # step, about how many steps, metrics


class Training:
    """Trains a model in place on one split and keeps, in `directory`, the best weights of each task.

    `state.pt` is where an interrupted training goes on; `best_<task>.pt` are weights. The order of rows, the rows that
    down-sampling drops and the initial weights follow from the seed.
    """

    def __init__(
        self,
        model: RankerModel,
        config: RankerConfig,
        export: int,
        seed: int,
        directory: Path,
        scalars: ScalarWriter | None = None,
    ) -> None:
        self.model, self.config, self.export, self.seed, self.directory = model, config, export, seed, directory
        self.scalars = scalars
        group.require_device(config.device)
        self.device = group.device(config.device)
        training, tables = config.training, model.to(self.device).tables()
        self.tables = [table for found in tables.values() for table in found]
        sparse = {id(table.parameter) for table in self.tables}
        self.dense = [parameter for parameter in model.parameters() if id(parameter) not in sparse]
        take_first_(self.dense)
        optimizers: list[Optimizer] = [
            AdamW(self.dense, training.lr, training.weight_decay),
            *(
                RowwiseAdagrad([table.parameter for table in found], getattr(config, name).lr)
                for name, found in tables.items()
                if found
            ),
        ]
        self.trained = Trained(model, optimizers)
        self.rates = [optimizer.lr for optimizer in optimizers]
        self.progress = Progress()

    def run(
        self, train: Split, valid: Split | None, watch: Watch, validated: Validated = lambda *told: None
    ) -> Progress:
        """Trains to the end or until every task has waited `patience` validations.

        Without `valid` it trains to the end, and the model's last weights are what there is.
        """
        steps = self._steps(train)
        training = self.config.training
        every = training.eval_every or -(-steps // (EVALUATIONS * training.epochs))
        self._resume()
        for epoch, records in self._batches(train):
            if self._done():
                break
            self._step(records, 1 - self.progress.step / steps, new=epoch == 0)
            if self.progress.step % every == 0:
                self._stand(valid, steps, validated)
            if self.progress.step % 10 == 0:
                watch(min(self.progress.step / steps, 1.0), self.progress.history[-1] if self.progress.history else {})
        if not self._done() and self._last_seen() != self.progress.step:
            self._stand(valid, steps, validated)
        watch(1.0, self.progress.history[-1] if self.progress.history else {})
        self._calibrate(train, valid)
        return self.progress

    def _calibrate(self, train: Split, valid: Split | None) -> None:
        """Sets the intercept of the model, or, where there was validation, of the weights that its task is told by."""
        if valid is None:
            calibrate_(self.model, train, self.export, self.seed)
            return
        task = self.model.calibrated
        if task not in from_first(lambda: self.progress.best):  # by then the first has written them
            return
        path = best_of(self.directory, task)
        load_(self.model, path, self.device)
        calibrate_(self.model, train, self.export, self.seed)
        if group.place() == 0:
            set_intercept(path, self.model)

    def _last_seen(self) -> int:
        """The step of the last validation, -1 before the first."""
        return int(self.progress.history[-1]["step"]) if self.progress.history else -1

    def _done(self) -> bool:
        waited = self.progress.waited
        return bool(waited) and min(waited.values()) >= self.config.training.patience

    def _steps(self, train: Split) -> int:
        """About how many steps all epochs take."""
        return max(int(self.config.training.epochs * self._expected_rows(train) / self._batch_size(train)), 1)

    def _expected_rows(self, train: Split) -> float:
        """About how many rows an epoch has."""
        return train.expected_rows(self.config.training.keep_negatives)

    def _batch_size(self, train: Split) -> int:
        """Impressions a step, of all processes together. What is chosen follows from the rows alone."""
        if self.config.training.batch_size is not None:
            return self.config.training.batch_size * group.count()
        return self.config.training.chosen_batch_size(self._expected_rows(train))

    def _batches(self, train: Split) -> Iterator[tuple[int, Records]]:
        """The batches of all epochs, each with its epoch, without those that a resumed training has taken."""
        training, size, position = self.config.training, self._batch_size(train), 0
        for epoch in range(training.epochs):
            rng = np.random.default_rng([self.seed, epoch])
            for records in train.shuffled(rng, training.buffer_rows, training.keep_negatives):
                for first in range(0, len(records), size):
                    position += 1
                    if position > self.progress.step:
                        yield epoch, records[first : first + size]

    def _step(self, records: Records, decay: float, new: bool) -> None:
        """One step at `decay` times the learning rates, which fall to 0 by the end: late steps average out noise.

        `new`: whether the records are those of a first epoch.
        """
        self.model.train()
        seed_(self.device, step_seed(self.seed, self.progress.step))
        for optimizer, lr in zip(self.trained.optimizers, self.rates, strict=True):
            optimizer.zero_grad()
            optimizer.lr = lr * max(decay, LEAST_DECAY)
        part, weight = share(records)
        total = weight * self._loss(Batch.of(part, self.export).to(self.device), new)
        total.backward()
        loss = self._collect_gradients_(total.detach())
        if not torch.isfinite(loss):
            raise DataError(f"training diverged at step {self.progress.step}: lower ranker.training.lr")
        for optimizer in self.trained.optimizers:
            optimizer.step()
        self.progress.step += 1

    def _collect_gradients_(self, loss: Tensor) -> Tensor:
        """Replaces gradients by their means over all processes; returns the mean of the losses."""
        gradients = [parameter.grad for parameter in self.dense if parameter.grad is not None]
        mean_([loss, *gradients])
        for table in self.tables:
            table.collect_gradient_()
        return loss

    def _loss(self, batch: Batch, new: bool) -> Tensor:
        """On a GPU the model computes in bfloat16 where that is safe, and losses in float32."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            answers = self.model.trained(batch, new)
        return total_loss(answers, batch, self.config, self.config.training.keep_negatives)

    def _stand(self, valid: Split | None, steps: int, validated: Validated) -> None:
        """Validates where there is a split to do so, and keeps where the training stands."""
        if valid is not None:
            validated(self.progress.step, steps, self._validate(valid))
        else:
            self.trained.save(self.directory, (), vars(self.progress))

    def _validate(self, valid: Split) -> Metrics:
        metrics: Metrics = evaluate(self.model, valid, self.export)
        kept = self.progress.note(metrics)
        if self.scalars is not None and group.place() == 0:
            self.scalars.add(self.progress.step, curve_points(metrics))
        self.trained.save(self.directory, kept, vars(self.progress))
        return metrics

    def _resume(self) -> None:
        """Goes on where `state.pt` stands, or starts with the seed."""
        if from_first((self.directory / STATE).exists):
            self.progress = Progress(**self.trained.resume_(self.directory, self.device))


def curve_points(metrics: Mapping[str, Mapping[str, float | None]]) -> dict[str, float]:
    """A validation's metrics as <task>/<metric>, without those that its rows do not define."""
    return {f"{task}/{name}": v for task, found in metrics.items() for name, v in found.items() if v is not None}


def seed_(device: torch.device, seed: int) -> None:
    """Seeds what is drawn on the device. torch.manual_seed would format a traceback for each kind of device."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def step_seed(seed: int, step: int) -> int:
    """Of what a step draws (dropout) in this process: a resumed training draws what an uninterrupted one does."""
    return int(np.random.SeedSequence([seed, step, group.place()]).generate_state(1)[0])


def share(batch: Records) -> tuple[Records, float]:
    """This process's part of a batch, and its weight: the batch's mean is the mean of the weighted means of all parts.

    A process without a part computes the first row for nothing.
    """
    part = batch[group.place() :: group.count()]
    return (part, len(part) * group.count() / len(batch)) if len(part) else (batch[:1], 0.0)
