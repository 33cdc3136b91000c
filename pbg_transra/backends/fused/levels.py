"""Which copy of the kernels runs: the one for the widest vector registers that this processor has, or what
TRANSRA_KERNELS asks for."""

import ctypes
import os
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from artifacts.errors import ConfigError

COMPILED = ("avx512", "avx2", "baseline")  # the fastest first; baseline: what every processor of the kind has, as NEON
LEVELS = (*COMPILED, "torch")
VARIABLE = "TRANSRA_KERNELS"


def library_path(level: str) -> Path | None:
    """Where installing put a level's copy; None where there was no compiler, or for another kind of processor."""
    paths = (Path(__file__).with_name(f"_kernels_{level}{suffix}") for suffix in EXTENSION_SUFFIXES)
    return next((path for path in paths if path.exists()), None)


@cache
def possible_levels() -> tuple[str, ...]:
    """Levels that this machine can run, the fastest first."""
    baseline = library_path("baseline")
    if baseline is None:  # it is what knows the processor, and it is compiled wherever another one is
        return ("torch",)
    asked = ctypes.CDLL(str(baseline))
    missing = {"avx512": not asked.has_avx512(), "avx2": not asked.has_avx2()}
    return tuple(level for level in LEVELS if level == "torch" or (library_path(level) and not missing.get(level)))


def chosen_level() -> str:
    """The fastest that is possible, or the one that TRANSRA_KERNELS names. Raises ConfigError when that cannot run."""
    possible = possible_levels()
    asked = os.environ.get(VARIABLE) or possible[0]
    if asked not in possible:
        why = "cannot run here" if asked in LEVELS else "is no level"
        raise ConfigError(f"{VARIABLE}={asked} {why}: expected {', '.join(possible)}")
    return asked
