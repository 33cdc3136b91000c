"""The base of every config section: frozen, typed, unknown keys refused."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict


class Problem(NamedTuple):
    """Something wrong with a config value: its path below the section, and what was expected."""

    path: tuple[str | int, ...]
    message: str


class Section(BaseModel):
    """A part of the run config. Each stage keeps its own beside its code.

    A section that must check its values against each other overrides `problems`, which reports all of them.
    """

    without_effect: ClassVar[frozenset[str]] = frozenset()  # keys that change how fast the output comes, not what it is

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    def problems(self) -> Iterator[Problem]:
        """Yields what the types alone cannot say."""
        yield from ()


def did_you_mean(word: str, known: list[str]) -> str:
    """Returns ", did you mean 'x'?" for the nearest known word, or the known words when none is near."""
    if near := get_close_matches(word, known, n=1):
        return f", did you mean '{near[0]}'?"
    return f" (known: {', '.join(sorted(known))})" if known else ""
