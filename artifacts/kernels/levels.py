"""Which compiled copy of some kernels runs: the one for the widest vector registers that this processor has, or what
TRANSRA_KERNELS asks for. Each stage that has kernels keeps its copies beside its own kernels.cpp (setup.py)."""

import ctypes
import os
from collections.abc import Callable, Sequence
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from artifacts.errors import ConfigError

COMPILED = ("avx512", "avx2", "baseline")  # the fastest first; baseline: what every processor of the kind has, as NEON
LEVELS = (*COMPILED, "torch")
VARIABLE = "TRANSRA_KERNELS"


def copy_in(directory: Path, level: str) -> Path | None:
    """Where installing put a level's copy; None where there was no compiler, or for another kind of processor."""
    paths = (directory / f"_kernels_{level}{suffix}" for suffix in EXTENSION_SUFFIXES)
    return next((path for path in paths if path.exists()), None)


def possible(copy: Callable[[str], Path | None]) -> tuple[str, ...]:
    """Levels that this machine can run, the fastest first; `copy` is where a level's copy lies."""
    baseline = copy("baseline")
    if baseline is None:  # it is what knows the processor, and it is compiled wherever another one is
        return ("torch",)
    asked = ctypes.CDLL(str(baseline))
    missing = {"avx512": not asked.has_avx512(), "avx2": not asked.has_avx2()}
    return tuple(level for level in LEVELS if level == "torch" or (copy(level) and not missing.get(level)))


def chosen(levels: Sequence[str]) -> str:
    """The fastest of the possible levels, or the one that TRANSRA_KERNELS names. Raises ConfigError when that cannot
    run."""
    asked = os.environ.get(VARIABLE) or levels[0]
    if asked not in levels:
        why = "cannot run here" if asked in LEVELS else "is no level"
        raise ConfigError(f"{VARIABLE}={asked} {why}: expected {', '.join(levels)}")
    return asked
