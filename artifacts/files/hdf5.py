"""HDF5 files that are written whole or not at all, and opened without trust.

HDF5 cannot cope with a write that fails: objects that cannot be flushed are closed again later, and the process dies of
signal 11. So the library never sees one: it writes to a `CheckedStream`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from artifacts.errors import DataError
from artifacts.files.checked_stream import CheckedStream
from artifacts.files.regular import open_regular

# What h5py raises for a damaged or hostile file, by the place where it stumbles.
BROKEN = (OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError, ArithmeticError, MemoryError)


class NewFile:
    """An HDF5 file being written. `file` is h5py's; `check` tells a long writer early that the disk is full."""

    def __init__(self, path: Path, **layout: Any) -> None:
        """Replaces `path`. `layout` goes to h5py."""
        self.path = path
        self._stream = CheckedStream(path)
        try:
            self.file = h5py.File(self._stream, "w", **layout)
        except BaseException:
            self._stream.close()
            path.unlink(missing_ok=True)
            raise

    def check(self) -> None:
        """Raises OSError when something could not be written."""
        self._stream.check()

    def close(self, keep: bool) -> None:
        """Ends the file; it is removed unless it is to be kept and whole. Raises OSError when it is not whole."""
        try:
            try:
                self.file.close()
            finally:
                self._stream.close()
                self._stream.check()
        except BaseException:
            self.path.unlink(missing_ok=True)
            raise
        if not keep:
            self.path.unlink(missing_ok=True)


@contextmanager
def new_file(path: Path, **layout: Any) -> Iterator[h5py.File]:
    """Yields an HDF5 file that is there whole after the block, and gone if anything failed. Raises OSError."""
    new = NewFile(path, **layout)
    try:
        yield new.file
    except BaseException:
        new.close(keep=False)
        raise
    new.close(keep=True)


def open_hdf5(path: Path, what: str) -> h5py.File:
    """Opens an HDF5 file to read. Raises DataError where there is no `what`."""
    open_regular(path, what).close()
    try:
        return h5py.File(path, "r")
    except BROKEN as error:
        raise DataError(f"{path}: expected {what} ({' '.join(str(error).split())})") from error


def group_in(group: h5py.Group, name: str) -> h5py.Group:
    """A group that lies in the file itself. Raises ValueError for anything else under that name."""
    return _member(group, name, h5py.Group)


def dataset_in(group: h5py.Group, name: str, *dtypes: str) -> h5py.Dataset:
    """An array that lies in the file itself, in one piece, of one of the types. Raises ValueError for any other."""
    dataset = _member(group, name, h5py.Dataset)
    if dataset.dtype not in [np.dtype(dtype) for dtype in dtypes]:
        raise ValueError(f"{dataset.name} holds {dataset.dtype}, expected {' or '.join(dtypes)}")
    layout = dataset.id.get_create_plist()
    if layout.get_layout() != h5py.h5d.CONTIGUOUS or layout.get_external_count():
        raise ValueError(f"{dataset.name} is not contiguous")
    return dataset


def _member(group: h5py.Group, name: str, kind: type[Any]) -> Any:
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{group.name}: '{name}' is missing or leads elsewhere")
    found = group[name]
    if not isinstance(found, kind):
        raise ValueError(f"{found.name} is no {kind.__name__.lower()}")
    return found
