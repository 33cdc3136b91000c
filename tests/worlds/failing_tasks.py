"""Tasks of Spark that fail once their work is done, before Spark hears of it: what they do, they do twice."""

import errno
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import GroupedData
from pyspark.sql.classic.dataframe import DataFrame

from partitioning.engines import spark_backend
from partitioning.spark import events
from partitioning.spark.session import each


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def failing() -> None:
    raise RuntimeError("a task fails")


def full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@dataclass(frozen=True)
class FirstTasks:
    """The first task of each kind is killed, and the next one fails; `marks` is a directory of what has happened."""

    marks: Path

    def __call__(self, kind: str) -> None:
        for fault in (killed, failing):
            try:
                (self.marks / f"{kind} {fault.__name__}").touch(exist_ok=False)
            except FileExistsError:
                continue
            fault()

    def of_each(self, kind: str, work: Callable[[Any], Any], item: Any) -> Any:
        done = work(item)
        self(kind)
        return done

    def of_batches(
        self, kind: str, work: Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]
    ) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
        def done(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            yield from work(batches)
            self(kind)

        return done

    def of_groups(
        self, kind: str, work: Callable[[tuple[Any, ...], pa.Table], pa.Table]
    ) -> Callable[[tuple[Any, ...], pa.Table], pa.Table]:
        def done(key, ids):  # Spark looks at how many parameters there are, and at their annotations
            placed = work(key, ids)
            self(kind)
            return placed

        return done


def let_first_tasks_fail(monkeypatch: pytest.MonkeyPatch, marks: Path) -> None:
    """Wraps all that a build hands to Spark."""
    first, map_batches, map_groups = FirstTasks(marks), DataFrame.mapInArrow, GroupedData.applyInArrow

    def every(session: Any, work: Any, items: Any) -> Any:
        return each(session, partial(first.of_each, kind_of(work), work), items)

    def batches(frame: Any, work: Any, *more: Any) -> Any:
        return map_batches(frame, first.of_batches(kind_of(work), work), *more)

    def groups(grouped: Any, work: Any, *more: Any) -> Any:
        return map_groups(grouped, first.of_groups("place", work), *more)

    for module in (spark_backend, events):
        monkeypatch.setattr(module, "each", every)
    monkeypatch.setattr(DataFrame, "mapInArrow", batches)
    monkeypatch.setattr(GroupedData, "applyInArrow", groups)


def kind_of(work: Any) -> str:
    """Its name: of a method, or of a class that is called."""
    work = getattr(work, "func", work)
    return str(getattr(work, "__name__", type(work).__name__))
