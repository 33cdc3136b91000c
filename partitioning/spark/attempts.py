"""Files that tasks write: each attempt in a directory of its own, of which the driver takes those that Spark counts.

A task may run twice, also at once where an executor was only thought lost; so none writes where another reads.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from artifacts.files.publish import sync


def scratch() -> "TemporaryDirectory[str]":
    """A directory that a task spills to, below those that Spark removes: a task that is killed removes nothing."""
    of_spark = os.environ.get("SPARK_LOCAL_DIRS", "").split(",")[0]
    return TemporaryDirectory(prefix="transra-", dir=of_spark or None)


def begin(directory: Path) -> Path:
    """A new directory for an attempt, below one that driver and executors share."""
    attempt = directory / "attempts" / uuid4().hex
    attempt.mkdir(parents=True)
    return attempt


def take(attempt: Path, destination: Path) -> None:
    """Moves the files of an attempt, which then are whole and on disk, to the same places below the destination."""
    for path in sorted(path for path in attempt.rglob("*") if path.is_file()):
        place = destination / path.relative_to(attempt)
        place.parent.mkdir(parents=True, exist_ok=True)
        sync(path)
        os.replace(path, place)
