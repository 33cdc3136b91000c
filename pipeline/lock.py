"""One command at a time on a workspace, held by the kernel: it falls with its process, however that ends."""

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


@contextmanager
def locked(workspace: Path) -> Iterator[None]:
    """Holds the workspace. Raises BusyError, naming the holder, when somebody else does."""
    holder = workspace / ".holder.json"
    try:
        with FileLock(workspace / ".lock", timeout=0):
            write_json(holder, describe_self())
            try:
                yield
            finally:
                holder.unlink(missing_ok=True)
    except Timeout:
        raise BusyError(f"{workspace}: locked by {describe_holder(holder)}; try again later") from None


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
    except (OSError, ValueError):  # it is just starting or ending
        return "another command"
    return f"'{found['command']}' (process {found['pid']} on {found['host']}, since {found['since']})"
