"""A file for libraries that cannot cope with a write that fails: HDF5 dies of signal 11 then, torch.save of signal 6.

They never see one: the stream keeps the first error to itself, takes what follows for written, and `check` raises it
once the library has come to its end.
"""

import os
from pathlib import Path

from artifacts.machine.interrupts import called_by_c


class CheckedStream:
    """What h5py and torch need of a file, over a file descriptor. `error` is the first failure to write."""

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
