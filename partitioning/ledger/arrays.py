"""The arrays of a ledger, by their names on disk (see `ledger`): what a graph keeps for the one that follows it."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from artifacts.formats.graph import SPLITS, Bucket, Side


def units_name(bucket: Bucket) -> str:
    return f"units_{bucket.lhs}_{bucket.rhs}"


def held_out_name(split: int, bucket: Bucket) -> str:
    return f"held_{SPLITS[split]}_{bucket.lhs}_{bucket.rhs}"


def degrees_name(type: str, part: int) -> str:
    return f"degrees_{type}_{part}"


def ends_name(side: Side, part: int) -> str:
    return f"ends_{side}_{part}"


class KeepsArrays(Protocol):
    """Where a build puts what a later one continues from. Without `keeps`, what is saved is lost."""

    keeps: bool

    def save(self, name: str, array: NDArray[Any]) -> None: ...


class LedgerArrays:
    """Arrays in the directory of a ledger."""

    keeps = True

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def save(self, name: str, array: NDArray[Any]) -> None:
        np.save(self._directory / f"{name}.npy", array)

    def load(self, name: str, missing: type[Any]) -> NDArray[Any]:
        """A mapped array; an empty one of type `missing` if there is none."""
        path = self._directory / f"{name}.npy"
        return np.load(path, mmap_mode="r") if path.exists() else np.empty(0, missing)


class NoArrays:
    """A graph without append-only sources keeps nothing."""

    keeps = False

    def save(self, name: str, array: NDArray[Any]) -> None:
        pass
