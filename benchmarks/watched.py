"""A command as a whole process and what it takes: seconds, processor time, memory, and disk by kind."""

import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.environment import timed

Kind = Callable[[Path], str]  # of a file, by its path below the directory


def disk_by_kind(directory: Path, kind: Kind) -> Counter[str]:
    """Bytes that the files below a directory take from the disk; one that several links lead to counts once."""
    found: Counter[str] = Counter()
    seen: set[tuple[int, int]] = set()
    for place, _, names in os.walk(directory):
        for name in names:
            path = Path(place) / name
            try:
                stat = os.stat(path)
            except FileNotFoundError:  # removed while we were looking
                continue
            if (stat.st_dev, stat.st_ino) not in seen:
                seen.add((stat.st_dev, stat.st_ino))
                found[kind(path.relative_to(directory))] += stat.st_blocks * 512
    return found


class DiskMeter:
    """The largest sum of what lies below a directory, by kind, looked at twice a second; `most` of each kind alone."""

    def __init__(self, directory: Path, kind: Kind) -> None:
        self.peak: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self._directory, self._kind, self._stop = directory, kind, threading.Event()

    def __enter__(self) -> "DiskMeter":
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def _sample(self) -> None:
        while not self._stop.wait(0.5):
            self._look()

    def _look(self) -> None:
        now = disk_by_kind(self._directory, self._kind)
        self.most |= now
        self.peak = max(self.peak, now, key=Counter.total)


def watched(command: Sequence[str], cwd: Path, directory: Path, kind: Kind) -> dict[str, Any]:
    """What a command takes. Raises RuntimeError when it fails."""
    with DiskMeter(directory, kind) as disk:
        took = timed(command, cwd)
    return {
        **took,
        "disk_bytes": disk.peak.total(),
        "disk_by_kind": dict(disk.peak),
        "most_by_kind": dict(disk.most),
    }
