"""What a command is put under before it begins: bounds on files and memory, another user, a clock that jumps back."""

import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, tzinfo
from pathlib import Path

import psutil

NOBODY = 65534
CGROUPS = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")  # version 1, version 2
PACKAGES = ("pipeline", "partitioning", "pbg_transra", "ranker", "artifacts")


def file_sizes(size: int) -> Callable[[], None]:
    """No file may exceed so many bytes."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def address_space(more: int) -> Callable[[], None]:
    """`ulimit -v`: so many bytes beside those that the process has."""

    def bound() -> None:
        size = psutil.Process().memory_info().vms + more
        resource.setrlimit(resource.RLIMIT_AS, (size, size))

    return bound


def other_user() -> None:
    """Somebody who may read everything and write nothing."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def clock_back(after: float, by: float) -> Callable[[], None]:
    """The clock jumps back by `by` seconds, `after` seconds from now, for our modules; files keep the kernel's."""

    def bound() -> None:
        real, jumps = time.time, time.time() + after

        def now() -> float:
            return real() - by * (real() > jumps)

        class Set(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> datetime:
                return datetime.fromtimestamp(now(), tz)

        time.time = now
        ours = [module for name, module in sys.modules.items() if name.partition(".")[0] in PACKAGES]
        for module in ours:
            if getattr(module, "datetime", None) is datetime:
                module.datetime = Set

    return bound


def cgroup_limit() -> Path | None:
    """The file that bounds the memory of a cgroup of ours; None where none can be made."""
    for root, name in zip(CGROUPS, ("memory.limit_in_bytes", "memory.max"), strict=True):
        group = root / f"faults-{os.getpid()}"
        with suppress(OSError):
            group.mkdir(exist_ok=True)
            if (group / name).exists():
                return group / name
            group.rmdir()
    return None


@contextmanager
def memory_group(limit: Path, size: int) -> Iterator[Callable[[], None]]:
    """Yields what puts a process into the cgroup; it may take so many bytes beside what its parent has taken."""
    limit.write_text(str(size))
    try:
        yield lambda: (limit.parent / "cgroup.procs").write_text(str(os.getpid())) and None
    finally:
        with suppress(OSError):
            limit.parent.rmdir()
