"""A bucket file: the edges of one split between two partitions, as PyTorch-BigGraph reads them (format_version 1).

lhs, rhs    (E,) uint8, uint16, uint32 or int64: offsets of heads and tails in their partitions
rel         (E,) of the same types: positions of the relations in graph.json
weight      (E,) float32, where a relation of the graph is weighted; stock PBG ignores it

A column has the narrowest of these types that the graph's counts allow, the same in all buckets. PBG writes int64 and
reads into int64, to which HDF5 converts. Graphs of before partitioning 5 have int64 throughout.
"""

from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from artifacts.errors import DataError
from artifacts.files.hdf5 import BROKEN, dataset_in, open_hdf5

COLUMNS = ("lhs", "rhs", "rel")
WEIGHT = "weight"
FORMAT_VERSION = 1
TYPES = ("uint8", "uint16", "uint32", "int64")


def narrowest(bits: int) -> np.dtype[Any]:
    """The type of a column whose numbers, none of them negative, have so many bits."""
    return next((np.dtype(name) for name in TYPES if bits <= 8 * np.dtype(name).itemsize), np.dtype(np.int64))


class EdgeColumns(NamedTuple):
    """Offsets of heads and of tails, and relations of E edges, (E,) each: int64, or in the types of a mapped file."""

    lhs: NDArray[Any]
    rhs: NDArray[Any]
    rel: NDArray[Any]


class BucketFile:
    """One bucket, opened for reading; a context manager. Memory is what is asked for, never the file's size."""

    def __init__(self, path: Path) -> None:
        """Raises DataError for a file that is missing or is no bucket."""
        self.path = path
        what = "a bucket with lhs, rhs and rel"
        self._file = open_hdf5(path, what)
        try:
            lengths = {len(dataset_in(self._file, name, *TYPES)) for name in COLUMNS}
        except BROKEN as error:
            self._file.close()
            raise DataError(f"{path}: expected {what} ({' '.join(str(error).split())})") from error
        if len(lengths) != 1:
            raise DataError(f"{path}: lhs, rhs and rel have different lengths, {sorted(lengths)}")
        self._size = lengths.pop()

    def __enter__(self) -> "BucketFile":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._size

    def column(self, name: str, begin: int = 0, end: int | None = None) -> NDArray[np.int64]:
        """Edges [begin, end) of one of COLUMNS, (E,) int64."""
        return self._file[name][begin:end].astype(np.int64, copy=False)

    def columns(self, begin: int = 0, end: int | None = None) -> EdgeColumns:
        """Edges [begin, end), int64."""
        return EdgeColumns(*(self.column(name, begin, end) for name in COLUMNS))

    def weights(self, begin: int = 0, end: int | None = None) -> NDArray[np.float32] | None:
        """Weights of edges [begin, end), (E,); None in a bucket without."""
        return self._file[WEIGHT][begin:end].astype(np.float32, copy=False) if WEIGHT in self._file else None

    def mapped(self) -> EdgeColumns:
        """All edges as mapped files, in their types, for threads: h5py reads under a lock that all threads share."""
        return EdgeColumns(*(_mapped(self._file[name]) for name in COLUMNS))


def _mapped(dataset: h5py.Dataset) -> NDArray[Any]:
    if not len(dataset):
        return np.empty(0, dataset.dtype)
    return np.asarray(np.memmap(dataset.file.filename, dataset.dtype, "r", dataset.id.get_offset(), dataset.shape))
