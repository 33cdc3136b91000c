"""Impressions given as a table in memory: the records of the same rows in files, and errors that name the row."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from artifacts.errors import ConfigError, DataError, TransraError
from artifacts.sources.frame import Frame
from ranker import rank
from ranker.config.arms import ARMS
from ranker.data.ids.exports import Export, open_exports
from ranker.data.log.impression_log import ImpressionLog
from ranker.data.log.windows import Windows
from ranker.data.prepare import prepare
from ranker.data.records import SPLITS
from ranker.experiment.reuse import log_identity
from tests.worlds.small_impressions import START, SmallWorld, config, small_world


@pytest.fixture
def world(tmp_path: Path) -> SmallWorld:
    return small_world(tmp_path, rows=3000)


def table(world: SmallWorld, **changes: Any) -> pa.Table:
    return pa.table({**world.columns, **changes})


def records(world: SmallWorld, name: str, frame: Frame | None) -> dict[str, bytes]:
    settings = config()
    exports = open_exports({"base": Export(world.export, START - 1)}, settings)
    log = ImpressionLog(settings, world.root, frame)
    prepare(log, Windows.of(log), exports, "key", world.root / name, lambda text, done: None)
    return {split: (world.root / name / f"{split}.bin").read_bytes() for split in SPLITS}


@pytest.mark.parametrize("of", [lambda t: t, lambda t: t.to_pandas(), lambda t: t.to_reader(100)],
                         ids=["arrow", "pandas", "stream"])  # fmt: skip
def test_a_frame_gives_the_records_of_its_files(world, monkeypatch, of):
    of_files = records(world, "of_files", None)
    monkeypatch.setattr("ranker.data.log.impression_log.BLOCK_ROWS", 37)
    for file in (world.root / "log").iterdir():
        file.unlink()  # a frame needs none
    assert records(world, "of_frame", of(table(world))) == of_files and min(map(len, of_files.values())) > 0


def result(world: SmallWorld, out: str, impressions: Frame | None) -> dict[str, Any]:
    (world.root / out).mkdir(exist_ok=True)
    settings = config(arms={"none": ARMS["none"]})
    exports = {"base": Export(world.export, START - 1)}
    return rank(settings, world.root, exports, world.root / out, lambda *_: None, world.root, impressions)


def test_a_ranking_of_a_frame_is_that_of_its_files_and_is_not_made_twice(world):
    once = result(world, "of_frame", table(world).to_pandas())
    assert result(world, "of_frame", table(world).to_pandas()) == once  # the seconds of its training, too
    of_files = result(world, "of_files", None)
    for report in (once, of_files):
        assert report["arms"]["none"].pop("seconds") > 0
    assert once == of_files


def test_a_frame_is_told_from_another_by_what_is_read(world):
    def identity(frame: pa.Table) -> str:
        return log_identity(config(), ImpressionLog(config(), world.root, frame))

    same = identity(table(world))
    assert identity(table(world).append_column("beside", pa.nulls(3000))) == same
    assert identity(table(world).select(table(world).column_names[::-1])) == same
    ages = np.array(world.columns["age"].fill_null(0))
    assert identity(table(world, age=pa.array(np.where(np.arange(3000) == 2999, ages + 1e-9, ages)))) != same
    assert identity(table(world, position=world.columns["position"].astype(np.int32))) != same


BAD_FRAMES = {
    "missing label": ({"click": [0] * 2999 + [None]}, DataError, "impressions: row 2999: click is missing"),
    "text label": ({"click": ["no", "yes"] * 1500}, DataError, "impressions: column click is string, expected 0 and 1"),
    "list": ({"pin_id": [["p1"]] * 3000}, DataError, "impressions: column pin_id is list<item: string>, expected ids"),
}


@pytest.mark.parametrize("kind", BAD_FRAMES)
def test_bad_frames_are_named(world, monkeypatch, kind):
    monkeypatch.setattr("ranker.data.log.impression_log.BLOCK_ROWS", 512)
    changes, error, message = BAD_FRAMES[kind]
    refused(world, table(world, **changes), error, message)


def test_what_is_no_log_is_refused(world):
    refused(world, table(world).drop_columns("pin_id"), DataError, "impressions: no column 'pin_id' (ranker.slots)")
    refused(world, table(world).slice(0, 0), DataError, "impressions: no impressions at all")
    refused(world, [1, 2], ConfigError, "impressions: expected a pandas DataFrame or an Arrow table, found list")
    mixed = table(world).to_pandas().assign(device=["web", 1] * 1500)
    refused(world, mixed, DataError, "impressions: cannot become an Arrow table")


def refused(world: SmallWorld, frame: Any, kind: type[TransraError], message: str) -> None:
    with pytest.raises(kind) as caught:
        result(world, "out", frame)
    assert message in str(caught.value) and "\n" not in str(caught.value)
