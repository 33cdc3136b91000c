"""Which copy of the kernels runs (see artifacts/kernels/levels.py)."""

from functools import cache
from pathlib import Path

from artifacts.kernels.levels import COMPILED, LEVELS, VARIABLE, chosen, copy_in, possible

__all__ = ["COMPILED", "LEVELS", "VARIABLE", "chosen_level", "library_path", "possible_levels"]


def library_path(level: str) -> Path | None:
    """Where installing put a level's copy; None where there was no compiler, or for another kind of processor."""
    return copy_in(Path(__file__).parent, level)


@cache
def possible_levels() -> tuple[str, ...]:
    """Levels that this machine can run, the fastest first."""
    return possible(library_path)


def chosen_level() -> str:
    """The fastest that is possible, or the one that TRANSRA_KERNELS names. Raises ConfigError when that cannot run."""
    return chosen(possible_levels())
