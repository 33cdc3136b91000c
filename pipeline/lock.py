"""One command at a time on a workspace, held by the kernel: it falls with its process, however that ends."""

import fcntl
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from filelock import FileLock, Timeout

from artifacts.errors import BusyError
from artifacts.publish import write_json

LOCK = ".lock"
HOLDER = ".holder.json"
PATIENCE_SECONDS = 0.2  # `status` asks by holding the lock for an instant, which must not turn a command away


@contextmanager
def locked(workspace: Path) -> Iterator[None]:
    """Holds the workspace. Raises BusyError, naming the holder, when somebody else does."""
    holder = workspace / HOLDER
    try:
        with FileLock(workspace / LOCK, timeout=PATIENCE_SECONDS):
            write_json(holder, describe_self())
            try:
                yield
            finally:
                holder.unlink(missing_ok=True)
    except Timeout:
        raise BusyError(f"{workspace}: locked by {describe_holder(holder)}; try again later") from None


def holder_of(workspace: Path) -> str | None:
    """Describes the command that holds the workspace; None when nobody does. Needs no right to write there."""
    try:
        handle = os.open(workspace / LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return describe_holder(workspace / HOLDER)
    finally:
        os.close(handle)
    return None


def describe_self() -> dict[str, str | int]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "since": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def describe_holder(holder: Path) -> str:
    try:
        found = json.loads(holder.read_text())
        return f"'{found['command']}' (process {found['pid']} on {found['host']}, since {found['since']})"
    except (OSError, ValueError, KeyError, TypeError):  # it is just starting or ending, or somebody else's file
        return "another command"
