"""Readers of `latest` while it moves and what it led to is removed: each opens one run, and stays in it."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from artifacts.embeddings import Embeddings
from artifacts.errors import DataError
from artifacts.files.publish import point
from artifacts.formats.run import EMBEDDINGS, EXPORT
from tests.artifacts.test_embeddings_file import DIMENSION, write


def publish(workspace: Path, number: int) -> None:
    """A run whose vectors all hold its number."""
    name = f"2026112{number % 10}-{number:05d}"
    (workspace / name / EXPORT).mkdir(parents=True)
    vectors = np.full((5, DIMENSION), number, np.float32)
    write(workspace / name / EXPORT / EMBEDDINGS, list("abcde"), vectors)
    point(workspace / "latest", name)


@pytest.fixture
def moving(tmp_path: Path) -> Iterator[Path]:
    """A workspace in which a thread publishes run after run, and removes the one before at once."""
    publish(tmp_path, 0)
    stop = threading.Event()

    def work() -> None:
        number = 0
        while not stop.is_set():
            before, number = (tmp_path / "latest").resolve(), number + 1
            publish(tmp_path, number)
            shutil.rmtree(before)

    thread = threading.Thread(target=work)
    thread.start()
    yield tmp_path
    stop.set()
    thread.join()


def test_no_reader_fails_while_latest_moves(moving: Path) -> None:
    seen = set()
    for _ in range(300):
        export = Embeddings.open(moving / "latest")
        number = int(export.path.parents[1].name.split("-")[1])
        seen.add(number)
        for kind in export.types:
            assert (export.vectors(kind) == number).all(), "of one run, to the last vector"
            assert (export.rows(kind, export.ids(kind)) == np.arange(export.count(kind))).all()
    assert len(seen) > 3, "latest did not move"


def test_nothing_there_is_said_and_not_tried_for_ever(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="latest"):
        Embeddings.open(tmp_path / "latest")
