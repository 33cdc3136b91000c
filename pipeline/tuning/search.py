"""Trials of `transra tune`, one after the other: each a training into a directory that goes afterwards."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pbg_transra import Diverged, ModelConfig
from pipeline.output.log import logged
from pipeline.stages.train import Train
from pipeline.tuning.space import METRICS, Space, judged, trial_model
from pipeline.tuning.study import Asked, Pruned, Study, Trial
from pipeline.workspace.context import SCRATCH, Context
from pipeline.workspace.workspace import Run

if TYPE_CHECKING:
    from pbg_transra import ValidationDone

MOST_REPEATED = 20  # choices in a row that were trained before: there is nothing else to choose


@dataclass(frozen=True)
class Budget:
    """How much is trained in all, trials of earlier commands counted."""

    minutes: float
    trials: int | None

    def left(self, done: list[Trial]) -> bool:
        if self.trials is not None and len(done) >= self.trials:
            return False
        return sum(trial.seconds for trial in done) < 60 * self.minutes


@dataclass(frozen=True)
class Search:
    """One command's share of a study on the graph of `run`."""

    context: Context
    run: Run
    space: Space
    study: Study

    def go_on(self, budget: Budget) -> list[Trial]:
        """Trains until the budget is used up, and returns all trials, those of earlier commands first."""
        done, repeated = self.study.finished(), 0
        if done:
            seconds = sum(trial.seconds for trial in done)
            self.context.console.say(f"tune: {len(done)} trials of earlier commands count ({seconds / 60:.1f} min)")
        while budget.left(done) and repeated < MOST_REPEATED:
            asked = self.study.ask()
            if any(trial.asked == asked.settings for trial in done if not trial.as_it_is):
                asked.forget()
                repeated += 1
                continue
            done.append(self._trial(asked))
            repeated = 0
            self.context.console.say(f"tune: {told(done[-1], self.space)}")
        return done

    def _trial(self, asked: Asked) -> Trial:
        """Raises Diverged when the config as it is does; another setting that does has no score."""
        began, scores = time.monotonic(), list[tuple[int, float]]()

        def validated(done: "ValidationDone") -> None:
            scores.append((done.epoch, done.score))
            asked.validated(*scores[-1])

        outcome = "done"
        try:
            self._train(trial_model(self.space, asked.settings, asked.as_it_is), validated)
        except Pruned:
            outcome = "pruned"
        except Diverged:
            if asked.as_it_is:
                raise
            outcome = "diverged"
        seconds = round(time.monotonic() - began, 3)
        if outcome == "diverged":
            return asked.finish(None, {}, seconds, outcome)
        return asked.finish(*judged(self.space, scores, asked.as_it_is), seconds, outcome)

    def _train(self, model: ModelConfig, validated: Callable[["ValidationDone"], None]) -> None:
        config = self.context.config.model_copy(update={"model": model})
        with scratch(self.context.workspace.path) as directory, logged(directory / "log.jsonl"):
            (directory / "model").mkdir()
            Train().make(replace(self.context, config=config), self.run, directory / "model", validated, alone=True)


@contextmanager
def scratch(workspace: Path) -> Iterator[Path]:
    """An empty directory for a trial, gone afterwards; what a killed command left in it goes first."""
    directory = workspace / SCRATCH
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def told(trial: Trial, space: Space) -> str:
    """One line: number, score, settings that differ from the config, seconds."""
    score = "diverged" if trial.score is None else f"{METRICS[space.by]} {trial.score:.4f}"
    pruned = " (given up)" if trial.outcome == "pruned" else ""
    return f"trial {trial.number}: {score}{pruned}, {settings_told(trial)}, {trial.seconds:.1f} s"


def settings_told(trial: Trial) -> str:
    if trial.as_it_is:
        return "the config as it is"
    values = (f"{key}={value:.3g}" if isinstance(value, float) else f"{key}={value}" for key, value in
              trial.settings.items())  # fmt: skip
    return " ".join(values) or "no other settings"
