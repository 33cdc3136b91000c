"""A file that a command is asked to write: it appears whole or stays what it was, and one command writes at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from artifacts.errors import BusyError, ResourceError
from artifacts.files.publish import require_replaceable, sync


@contextmanager
def replaced(path: Path) -> Iterator[BinaryIO]:
    """Yields a file to write to, which becomes `path` when the block ends without an error, and else is gone.

    Raises ResourceError where the directory is missing or `path` is no file, BusyError where another command is writing
    it.
    """
    if not path.parent.is_dir():
        raise ResourceError(f"{path}: its directory is not there")
    require_replaceable(path)
    aside = path.with_name(f".{path.name}.partial")
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT, 0o666), "wb") as file:
        _hold(file, aside, path)
        file.truncate(0)  # of one that was killed
        try:
            yield file
            file.flush()
            sync(aside)
            os.replace(aside, path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
    sync(path.parent)


def _hold(file: BinaryIO, aside: Path, path: Path) -> None:
    """The kernel lets go with the process. Raises BusyError where the file is another one's, or has become `path`."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mine = os.path.samestat(os.fstat(file.fileno()), aside.stat())
    except (BlockingIOError, FileNotFoundError):
        mine = False
    if not mine:
        raise BusyError(f"{path}: is being written by another command; try again later")
