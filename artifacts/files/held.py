"""Files and directories that somebody has locked for as long as they are used: the kernel lets go with the process."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO


def hold(opened: BinaryIO) -> None:
    """Holds a file beside others who do, while it is open or mapped; does nothing where a file system has no locks."""
    with suppress(OSError):
        fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)


def is_held(path: Path) -> bool:
    """Whether somebody holds a file or directory, also together with others; False where nobody can know."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False
