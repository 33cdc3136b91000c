"""What every stage says of itself: what it is made from, what it takes, and how it is made."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from artifacts.section import Section
from pipeline.workspace.context import Context
from pipeline.workspace.workspace import Run


class Stage(ABC):
    """A stage's `version` is raised when the same config and input would give another output."""

    name: ClassVar[str]
    version: ClassVar[int]
    upstream: ClassVar[str | None] = None
    resumable: ClassVar[bool] = False
    knows_its_work: ClassVar[bool] = False  # resumes after any change: what was made from something else it makes anew
    adds_to_published: ClassVar[bool] = False
    takes_long: ClassVar[bool] = False  # those that are to follow are asked first what they will refuse
    plans_bounds: ClassVar[bool] = False  # `plan` says what it takes at most, and `expect` what it probably does
    # Which files of the stages above it reads, by how their paths begin: they are compared with their records first.
    reads: ClassVar[dict[str, tuple[str, ...]]] = {}

    def applies(self, context: Context) -> bool:
        """Whether `transra run` should make it for this config."""
        return True

    @abstractmethod
    def section(self, context: Context) -> Section:
        """The slice of the config that the output depends on."""

    def inputs(self, context: Context) -> tuple[list[Path], dict[str, dict[str, Any]]]:
        """The files outside the workspace that the stage reads, and their states, by name."""
        return [], {}

    def state(self, context: Context, upstream: str | None) -> dict[str, Any]:
        """What else the output depends on, by name. `upstream`: the fingerprint of the stage above."""
        return {}

    def check(self, context: Context) -> list[str]:
        """Compares the config with its data before anything is made; returns what could not be compared, as the data
        cannot be read: the stage itself will say so. Raises ConfigError."""
        return []

    def foreseen(self, context: Context, run: Run) -> list[str]:
        """Asked before a stage that takes long is made from a run's graph, and this one after it: what it will refuse,
        a line each."""
        return []

    @abstractmethod
    def plan(self, context: Context, run: Run | None) -> dict[str, int]:
        """Expected bytes, by resource, and seconds. Raises ResourceError when they cannot be had. `run` holds the
        upstream."""

    def expect(self, context: Context, run: Run | None) -> dict[str, int]:
        """The same for a dry run, which has time to look closer."""
        return self.plan(context, run)

    @abstractmethod
    def make(self, context: Context, run: Run, partial: Path) -> dict[str, Any]:
        """Makes the output in `partial` and returns the stage's metrics."""

    def rows(self, metrics: dict[str, Any]) -> int | None:
        """Rows that it read, ranked or wrote, for the log; None where it works on none."""
        found: int | None = metrics.get("rows")
        return found

    @abstractmethod
    def summary(self, metrics: dict[str, Any]) -> str:
        """One line for a person."""

    def odd(self, context: Context, metrics: dict[str, Any]) -> list[str]:
        """What a person should hear of the numbers, though nothing has failed; also when they are up to date."""
        return []
