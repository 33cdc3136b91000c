"""HDF5 files that are written whole or not at all, and opened without trust.

HDF5 cannot cope with a write that fails: objects that cannot be flushed are closed again later, and the process dies of
signal 11. So the library never sees one: it writes to a stream of ours, which keeps the first error to itself, takes
what follows for written, and raises once the file is closed.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from artifacts.errors import DataError
from artifacts.interrupts import called_by_c
from artifacts.regular import open_regular

# What h5py raises for a damaged or hostile file, by the place where it stumbles.
BROKEN = (OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError, ArithmeticError, MemoryError)


class CheckedStream:
    """What h5py needs of a file, over a file descriptor. `error` is the first failure to write."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        self._path = path
        self._position = 0
        self.error: BaseException | None = None

    @called_by_c
    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position}
        self._position = offset + (os.fstat(self._handle).st_size if whence == os.SEEK_END else base[whence])
        return self._position

    @called_by_c
    def tell(self) -> int:
        return self._position

    @called_by_c
    def read(self, count: int) -> bytes:
        return os.pread(self._handle, count, self._position)

    @called_by_c
    def readinto(self, buffer: memoryview) -> int:
        return os.preadv(self._handle, [buffer], self._position)

    @called_by_c
    def write(self, data: memoryview) -> int:
        done = 0
        try:
            while done < len(data) and self.error is None:
                done += os.pwrite(self._handle, data[done:], self._position + done)
        except BaseException as error:  # a signal's, too
            self._keep(error)
        self._position += len(data)
        return len(data)

    @called_by_c
    def truncate(self, size: int) -> int:
        try:
            if self.error is None:
                os.ftruncate(self._handle, size)
        except BaseException as error:
            self._keep(error)
        return size

    def _keep(self, error: BaseException) -> None:
        if isinstance(error, OSError) and error.errno is not None:
            error = OSError(error.errno, error.strerror, str(self._path))
        self.error = error

    @called_by_c
    def flush(self) -> None:
        """Nothing is held back."""

    def check(self) -> None:
        """Raises the first failure to write, if there was one."""
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        os.close(self._handle)


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
