"""Time, memory and disk as the operating system counts them."""

import os
import shutil
import threading
import time
from pathlib import Path
from types import TracebackType

import psutil

from artifacts.errors import ResourceError
from artifacts.machine.memory_limits import bytes_left

GIB = 1 << 30


def tree_memory(process: psutil.Process | None = None) -> int:
    """Bytes that a process (by default this one) and its children hold, pages that they share counted once (PSS).

    One without children shares with none of them, and its pages need not be walked, which takes milliseconds a GB.
    """
    process, total = process or psutil.Process(), 0
    try:
        members = [process, *process.children(recursive=True)]
    except psutil.Error:  # it has ended
        return 0
    for member in members:
        try:
            info = member.memory_full_info() if len(members) > 1 else member.memory_info()
            total += getattr(info, "pss", 0) or info.rss
        except psutil.Error:  # it ended while we were looking
            continue
    return total


class Meter:
    """Wall seconds and peak memory (bytes, a process tree, sampled) of a block of code.

    Looking walks the pages of every process where there are several: ten times a second where that is quick, twice
    where it takes long.
    """

    def __init__(self, process: psutil.Process | None = None) -> None:
        self.seconds = 0.0
        self.peak_bytes = 0
        self._process = process
        self._stop = threading.Event()

    def __enter__(self) -> "Meter":
        self._start = time.perf_counter()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.seconds = time.perf_counter() - self._start
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        pause = 0.0
        while not self._stop.wait(pause):
            began = time.perf_counter()
            self.peak_bytes = max(self.peak_bytes, tree_memory(self._process))
            pause = min(max(0.1, 100 * (time.perf_counter() - began)), 0.5)


def existing_parent(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def require_disk(path: Path, needed: int, purpose: str) -> None:
    """Raises ResourceError unless the disk of `path` has `needed` bytes free."""
    free = shutil.disk_usage(existing_parent(path)).free
    if free < needed:
        raise ResourceError(
            f"{path}: {purpose} needs about {needed / GIB:.1f} GiB of disk, {free / GIB:.1f} GiB are free"
        )


def available_memory() -> int:
    """Bytes of memory that can be had: what the machine has free, capped by the limits on this process."""
    available, left = int(psutil.virtual_memory().available), bytes_left()
    return available if left is None else min(available, left)


def require_memory(needed: int, purpose: str, hint: str) -> None:
    """Raises ResourceError unless `needed` bytes of memory are available."""
    available = available_memory()
    if available < needed:
        raise ResourceError(
            f"{purpose} needs about {needed / GIB:.1f} GiB of memory, {available / GIB:.1f} GiB are available; {hint}"
        )


def require_shared_memory(needed: int, purpose: str, hint: str) -> None:
    """Raises ResourceError unless /dev/shm has `needed` bytes free (a full one kills processes with a bus error)."""
    shared = Path("/dev/shm")
    if not shared.exists():
        return
    free = shutil.disk_usage(shared).free
    if free < needed:
        raise ResourceError(
            f"{purpose} needs about {needed / GIB:.1f} GiB of shared memory, /dev/shm has {free / GIB:.1f} GiB; {hint}"
        )


def cpu_count() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0))
