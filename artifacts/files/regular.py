"""Opens what must be a file: a FIFO would be waited for, and a directory is an error that says little."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from artifacts.errors import DataError


def open_regular(path: Path, what: str) -> BinaryIO:
    """Opens a file to read. Raises DataError where `what` is expected and there is no file."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise DataError(f"{path}: expected {what} ({error.strerror})") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise DataError(f"{path}: expected {what} (it is no file)")
    return os.fdopen(handle, "rb")
