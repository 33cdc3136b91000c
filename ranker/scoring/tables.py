"""The tables beside the network, memory-mapped: of a batch, only the rows that it names are read."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from artifacts.embeddings import Embeddings
from artifacts.errors import DataError
from artifacts.files.regular import open_regular
from artifacts.ordered import unique
from ranker.data.ids.id_bags import MULTIPLIERS, id_means, salts_of
from ranker.data.ids.slots import Layout
from ranker.scoring.encoder import Encoded
from ranker.scoring.inputs import Inputs
from ranker.scoring.manifest import IDS, Manifest, tuned_path

LEAST = 2  # rows of every array, see Inputs

Array = NDArray[Any]


class Tables:
    """Vectors and degrees by row, and the ID table by hash."""

    def __init__(self, directory: Path, manifest: Manifest, export: Embeddings | None) -> None:
        """Raises DataError for tables that are missing, broken or do not fit each other."""
        self.layout = Layout.of_slots(manifest.slots)
        self._tokens = {type: self._tokens_of(type) for type in manifest.vectors}
        self._vectors: dict[str, Array] = {}
        self._degrees: dict[str, Array] = {}
        for type in manifest.vectors:
            assert export is not None
            exported = export.vectors(type)
            self._vectors[type] = mapped(tuned_path(directory, type), exported.shape) if manifest.tuned else exported
            if type in manifest.degrees:
                self._degrees[type] = self._degrees_of(export, type)
        self._ids = None if manifest.hashes is None else torch.from_numpy(mapped(directory / IDS, None))
        self._salts = torch.tensor(salts_of(self.layout))
        self._multipliers = torch.tensor(MULTIPLIERS[: manifest.hashes or 0])

    def _tokens_of(self, type: str) -> Array:
        slots = [slot for slot in self.layout.graph() if slot.type == type]
        return np.concatenate([np.arange(slot.first, slot.first + slot.width) for slot in slots])

    @staticmethod
    def _degrees_of(export: Embeddings, type: str) -> Array:
        if (degrees := export.degrees(type)) is None:
            raise DataError(f"{export.path}: no degrees of {type}, which the scorer's network reads")
        return degrees

    def inputs(self, encoded: Encoded) -> Inputs:
        """Of LEAST rows or more."""
        rows = np.full_like(encoded.rows, -1)
        vectors, degrees = {}, {}
        for type, tokens in self._tokens.items():
            own = encoded.rows[:, tokens]
            named = unique(own[own >= 0])
            rows[:, tokens] = np.where(own >= 0, np.searchsorted(named, own), -1)
            vectors[type] = taken(self._vectors[type], named, np.float32)
            if type in self._degrees:
                degrees[type] = taken(self._degrees[type], named, np.int32)
        hashes = torch.from_numpy(encoded.hashes)
        return Inputs(
            torch.from_numpy(encoded.numerics),
            torch.from_numpy(encoded.categoricals),
            hashes,
            torch.from_numpy(rows),
            torch.from_numpy(encoded.ages),
            self._id_means(hashes),
            vectors,
            degrees,
        )

    def _id_means(self, hashes: Tensor) -> Tensor:
        """(B, T) -> (B, S, I)."""
        if self._ids is None:
            return torch.zeros(len(hashes), len(self.layout.slots), 0)
        look_up = partial(F.embedding, weight=self._ids)
        return id_means(look_up, len(self._ids), hashes, self._salts, self._multipliers, self.layout)


def taken(table: Array, rows: Array, dtype: type[np.generic]) -> Tensor:
    """Rows (U,) of a table, with zeros below them where they are fewer than LEAST."""
    found: Array = np.zeros((max(len(rows), LEAST), table.shape[1]), dtype)
    found[: len(rows)] = table[rows]
    return torch.from_numpy(found)


def mapped(path: Path, shape: tuple[int, ...] | None) -> Array:
    """A float32 table (N, D) of a .npy file, not to be written to. Raises DataError for another one, or of another
    shape."""
    what = "a table (N, D) of float32" if shape is None else f"a table {shape} of float32"
    open_regular(path, what).close()
    try:
        found = np.load(path, mmap_mode="c", allow_pickle=False)  # torch takes no array that cannot be written
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: expected {what} ({error})") from error
    if found.ndim != 2 or found.dtype != np.float32 or shape not in (None, found.shape):
        raise DataError(f"{path}: {found.dtype} {found.shape}, expected {what}")
    table: Array = found
    return table
