"""The trials of `transra tune`, kept by Optuna in one SQLite file of the workspace: a study per graph and config.

What is chosen next follows from the finished trials and a seed: a tune that was killed and is repeated chooses what it
would have chosen.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from artifacts.errors import ConfigError, DataError, ResourceError
from artifacts.machine.exhausted import first_line
from pipeline.tuning.space import Dimension, Space

_AS_IT_IS = "as_it_is"
_OUTCOME = "outcome"
_REPEATED = "repeated"
_DECIDED = {_OUTCOME, _REPEATED}  # of a trial that is decided, as one that was cut short is not
_RANDOM_FIRST = 8  # trials before the sampler models the earlier ones
_PRUNED_FROM = 5  # finished trials, before any is given up


@dataclass(frozen=True)
class Trial:
    """A finished one. `score`: the more the better, None if it diverged.

    `asked`: settings that were chosen and differ from the config. `settings`: those and what else the config needs to
    give the score, such as the best number of epochs.
    `outcome`: done, pruned (worse on its way than the median of the others) or diverged.
    """

    number: int
    as_it_is: bool
    score: float | None
    asked: dict[str, Any]
    settings: dict[str, Any]
    seconds: float
    outcome: str


class Pruned(Exception):
    """Raised within a training that is not worth its time."""


def require_optuna() -> None:
    """Raises ConfigError where the package is missing."""
    if find_spec("optuna") is None:
        raise ConfigError("tune: the package 'optuna' is not installed; `pip install '.[tune]'`")


@contextmanager
def kept(path: Path) -> Iterator[None]:
    """Says of what goes wrong with the file of the trials whether it is to be removed, or the disk is full."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) else error
        said = first_line(getattr(cause, "orig", None) or error)
        if any(word in said for word in ("full", "readonly", "unable to open")):
            raise ResourceError(f"{path}: trials cannot be written ({said})") from error
        raise DataError(f"{path}: expected the trials of earlier tunes ({said}); remove it") from error


class Asked:
    """A trial that was chosen and is to be trained. `settings` are those that differ from the config."""

    def __init__(self, study: Any, trial: Any, space: Space) -> None:
        self._study, self._trial = study, trial
        self.as_it_is = bool(trial.user_attrs.get(_AS_IT_IS))
        if self.as_it_is:
            for dimension in _tellable(space):
                _suggested(trial, dimension)
        chosen = {} if self.as_it_is else space.settings(lambda dimension: _suggested(trial, dimension))
        self.settings = {key: value for key, value in chosen.items() if value != getattr(space.model, key)}

    def validated(self, epoch: int, score: float) -> None:
        """Raises Pruned where it is worse than most. The config as it is goes to its end."""
        self._trial.report(score, epoch)
        if not self.as_it_is and self._trial.should_prune():
            raise Pruned

    def finish(self, score: float | None, more: dict[str, Any], seconds: float, outcome: str) -> Trial:
        """Keeps what came of it. `more`: settings that its score needs beside those that were asked."""
        from optuna.trial import TrialState

        settings = {**self.settings, **more}
        done = Trial(self._trial.number, self.as_it_is, score, self.settings, settings, seconds, outcome)
        self._trial.set_user_attr(_OUTCOME, asdict(done))
        if outcome == "done":
            self._study.tell(self._trial, score)
        else:
            self._study.tell(self._trial, state=TrialState.PRUNED)
        return done

    def forget(self) -> None:
        """It was trained before."""
        from optuna.trial import TrialState

        self._trial.set_user_attr(_REPEATED, True)
        self._study.tell(self._trial, state=TrialState.FAIL)


class Study:
    """All trials under one name."""

    def __init__(self, path: Path, name: str, space: Space, seed: int) -> None:
        """Goes on with what `path` holds under the name: what was cut short is queued again, as it was chosen."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space, self._seed = space, seed
        self._study = optuna.create_study(
            storage=_storage(path),
            study_name=name,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_PRUNED_FROM),
        )
        if not self._study.trials:
            values = {each.key: getattr(space.model, each.key) for each in _tellable(space)}
            self._study.enqueue_trial(values, user_attrs={_AS_IT_IS: True})
            for others in space.tried_early(values):
                self._study.enqueue_trial(others)
        self._queue_interrupted()

    def finished(self) -> list[Trial]:
        """In the order in which they were chosen."""
        outcomes = (trial.user_attrs.get(_OUTCOME) for trial in self._study.trials if trial.state.is_finished())
        return [Trial(**outcome) for outcome in outcomes if outcome]

    def ask(self) -> Asked:
        """Chooses the next trial; the first is the config as it is."""
        from optuna.samplers import TPESampler

        decided = sum(not _DECIDED.isdisjoint(trial.user_attrs) for trial in self._study.trials)
        seed = (self._seed + decided) % (1 << 32)  # a sampler of the whole tune would die with its process
        self._study.sampler = TPESampler(seed=seed, n_startup_trials=_RANDOM_FIRST)
        return Asked(self._study, self._study.ask(), self._space)

    def _queue_interrupted(self) -> None:
        from optuna.trial import TrialState

        for trial in self._study.get_trials(states=(TrialState.RUNNING,)):
            attributes = {_AS_IT_IS: True} if _AS_IT_IS in trial.user_attrs else {}
            self._study.enqueue_trial(trial.params, user_attrs=attributes)
            self._study.tell(trial.number, state=TrialState.FAIL)


def _storage(path: Path) -> Any:
    import sqlite3

    from optuna.storages import RDBStorage
    from sqlalchemy.pool import NullPool

    def connect() -> sqlite3.Connection:  # by hand: in a URL some characters of a path mean something else
        return sqlite3.connect(path)

    return RDBStorage("sqlite://", engine_kwargs={"creator": connect, "poolclass": NullPool})


def _tellable(space: Space) -> Iterator[Dimension]:
    """Dimensions, one after the other, that could have chosen what the config says."""
    visited: list[Dimension] = []

    def pick(dimension: Dimension) -> Any:
        visited.append(dimension)
        return getattr(space.model, dimension.key)

    space.settings(pick)
    return (dimension for dimension in visited if dimension.holds(getattr(space.model, dimension.key)))


def _suggested(trial: Any, dimension: Dimension) -> Any:
    if dimension.options:
        return trial.suggest_categorical(dimension.key, dimension.options)
    value = trial.suggest_float(dimension.key, dimension.low, dimension.high, log=True)
    return float(f"{value:.3g}")  # what is trained is what a person reads, and then writes
