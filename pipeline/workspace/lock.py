"""One command at a time on a workspace, held by the kernel: it falls with its process, however that ends."""

import fcntl
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from filelock import FileLock, Timeout

from artifacts.errors import BusyError, DataError
from artifacts.files.json_file import read_json
from artifacts.files.publish import write_json

LOCK = ".lock"
HOLDER = ".holder.json"
PATIENCE_SECONDS = 0.2  # `status` asks by holding the lock for an instant, which must not turn a command away


@dataclass(frozen=True)
class Holder:
    """Who holds a workspace."""

    pid: int
    host: str
    command: str
    since: str


@contextmanager
def locked(workspace: Path) -> Iterator[None]:
    """Holds the workspace. Raises BusyError, naming the holder, when somebody else does."""
    holder = workspace / HOLDER
    try:
        with FileLock(workspace / LOCK, timeout=PATIENCE_SECONDS):
            write_json(holder, asdict(describe_self()))
            try:
                yield
            finally:
                holder.unlink(missing_ok=True)
    except Timeout:
        raise BusyError(f"{workspace}: locked by {describe_holder(holder)}; try again later") from None


def holder_of(workspace: Path) -> str | None:
    """Describes the command that holds the workspace; None when nobody does. Needs no right to write there."""
    try:
        handle = os.open(workspace / LOCK, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return describe_holder(workspace / HOLDER)
    finally:
        os.close(handle)
    return None


def describe_self() -> Holder:
    return Holder(
        pid=os.getpid(),
        host=socket.gethostname(),
        command=" ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        since=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def describe_holder(holder: Path) -> str:
    try:
        found = read_json(holder, Holder, "the holder of a lock")
    except DataError:  # it is just starting or ending, or the file is somebody else's
        return "another command"
    return f"'{found.command}' (process {found.pid} on {found.host}, since {found.since})"
