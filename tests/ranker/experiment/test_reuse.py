"""What is ranked is known by what it holds: nothing is made again for another time or place, all for another byte."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artifacts.embeddings import Embeddings
from ranker import rank
from ranker.config.arms import ARMS
from ranker.data.ids.exports import Export
from ranker.experiment.reuse import export_identity
from ranker.training.reports import ImpressionsPrepared, Report, TrialBegan
from tests.worlds.small_impressions import START, SmallWorld, config, small_world, write_export


@pytest.fixture
def world(tmp_path: Path) -> SmallWorld:
    (tmp_path / "root").mkdir()
    return small_world(tmp_path / "root", rows=3000)


def ranked(root: Path, out: Path) -> tuple[dict[str, Any], list[Report]]:
    """A ranking of the world in `root`, and what it has told of trainings and preparations."""
    told: list[Report] = []
    out.mkdir(exist_ok=True)
    settings, exports = (
        config(arms={"frozen_concat": ARMS["frozen_concat"]}),
        {"base": Export(root / "embeddings.h5", START - 1)},
    )
    return rank(settings, root, exports, out, lambda *_: None, out, tell=told.append), told


def touched(root: Path) -> Path:
    for path in (*(root / "log").iterdir(), root / "embeddings.h5"):
        os.utime(path)
    return root


def moved(root: Path) -> Path:
    return root.rename(root.with_name("elsewhere"))


def restored(root: Path) -> Path:
    """From a backup that keeps neither times nor files."""
    return Path(shutil.copytree(root, root.with_name("backup"), copy_function=shutil.copyfile))


@pytest.mark.parametrize("change", [touched, moved, restored])
def test_the_same_content_is_prepared_and_trained_once(world: SmallWorld, change: Callable[[Path], Path]) -> None:
    out = world.root.with_name("out")
    once, told = ranked(world.root, out)
    assert [one for one in told if isinstance(one, TrialBegan)]
    again, told = ranked(change(world.root), out)
    assert again == once, "the seconds, too"
    assert [one.reused for one in told if isinstance(one, ImpressionsPrepared)] == [True]
    assert not [one for one in told if isinstance(one, TrialBegan)]


def test_other_clicks_in_as_many_bytes_of_the_same_time_are_seen(world: SmallWorld) -> None:
    """Two rows change places: size, time and Parquet's statistics stay."""
    out, path = world.root.with_name("out"), world.root / "log/part-0.parquet"
    table = pq.read_table(path)
    pq.write_table(table, path, compression="none", use_dictionary=False)
    os.utime(path, ns=(1, 1))
    once, _ = ranked(world.root, out)
    before = path.stat()
    clicks = table.column("click").to_numpy().copy()
    ones, zeros = np.flatnonzero(clicks == 1)[:1], np.flatnonzero(clicks == 0)[:1]
    clicks[[*ones, *zeros]] = clicks[[*zeros, *ones]]
    changed = table.set_column(table.column_names.index("click"), "click", pa.array(clicks))
    pq.write_table(changed, path, compression="none", use_dictionary=False)
    os.utime(path, ns=(1, 1))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    again, told = ranked(world.root, out)
    assert [one for one in told if isinstance(one, ImpressionsPrepared) and not one.reused]
    assert [one for one in told if isinstance(one, TrialBegan)] and again != once


def test_ids_under_another_key_are_trained_on_anew(world: SmallWorld, tmp_path: Path) -> None:
    """An ID table knows pseudonyms of one key alone: taken over for those of another it answered with noise."""
    chosen = config(arms={"id_only": ARMS["id_only"]}, training={"batch_size": 512})
    for key in (None, b"a" * 32, b"b" * 32):
        told: list[Report] = []
        arguments = (chosen, world.root, {}, tmp_path / "out", lambda text, done: None, tmp_path / "scalars")
        (tmp_path / "out").mkdir(exist_ok=True)
        rank(*arguments, tell=told.append, id_key=key)
        assert [one.reused for one in told if isinstance(one, ImpressionsPrepared)] == [False]
        assert any(isinstance(one, TrialBegan) for one in told)


def test_exports_are_what_they_hold(world: SmallWorld) -> None:
    copy = world.root / "copy.h5"
    shutil.copyfile(world.export, copy)
    assert export_identity([Embeddings(copy)]) == export_identity([Embeddings(world.export)])
    stat = copy.stat()
    write_export(copy, {"user": np.zeros((380, 8)), "pin": np.zeros((60, 8))})
    os.utime(copy, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert copy.stat().st_size == stat.st_size
    assert export_identity([Embeddings(copy)]) != export_identity([Embeddings(world.export)])


def test_exports_written_anew_are_the_same_until_something_is_computed_with_what_differs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    vectors = {"user": rng.normal(size=(9, 8)), "pin": rng.normal(size=(7, 8))}
    moved = {**vectors, "pin": vectors["pin"] + np.eye(7, 8)}

    def content(**changes: Any) -> str:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.h5"
        write_export(path, changes.pop("vectors", vectors), **changes)
        return Embeddings(path).content

    assert content() == content(run_id="20260102-later", config_hash="1", metrics={"train": {"loss": 1.0}})
    others = [
        content(),
        content(vectors=moved),
        content(vectors=dict(list(vectors.items())[:1])),
        content(degrees=lambda count: np.ones((count, 1))),
        content(scale=1.0),
        content(similarity="dot"),
    ]
    assert len({*others}) == len(others)
