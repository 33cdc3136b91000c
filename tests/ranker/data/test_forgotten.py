"""Ids to forget: their impressions are not learned from, in no way."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artifacts.embeddings import hash_ids
from artifacts.errors import ConfigError, DataError
from ranker import rank
from ranker.__main__ import load
from ranker.data.ids.exports import Export, open_exports
from ranker.data.log.forgotten import Forgotten
from ranker.data.log.impression_log import ImpressionLog
from ranker.data.log.windows import Windows
from ranker.data.prepare import prepare
from ranker.data.records import SPLITS, Split, Summary
from tests.worlds.small_impressions import START, SmallWorld, config, small_world

FORGOTTEN = Forgotten.of({"user": ["u3", "u5", "nobody"], "pin": ["p7"]})


@pytest.fixture
def world(tmp_path: Path) -> SmallWorld:
    return small_world(tmp_path, rows=3000)


def prepared(world: SmallWorld, name: str, forgotten: Forgotten) -> tuple[Summary, dict[str, np.ndarray]]:
    settings = config()
    exports = open_exports({"base": Export(world.export, START - 1)}, settings)
    log = ImpressionLog(settings, world.root, None, forgotten)
    summary = prepare(log, Windows.of(log), exports, "key", world.root / name, lambda text, done: None)
    splits = {split: Split.of(world.root / name, split, summary) for split in SPLITS}
    return summary, {split: one.read(0, len(one)) for split, one in splits.items()}


def without(world: SmallWorld, users: set[str], pins: set[str]) -> int:
    """Writes the log without impressions of these, and without these pins in lists; returns how many rows went."""
    kept = [
        u not in users and p not in pins for u, p in zip(world.columns["user_id"], world.columns["pin_id"], strict=True)
    ]
    columns = {name: pa.array(values).filter(pa.array(kept)) for name, values in world.columns.items()}
    columns["recent"] = pa.array([[None if p in pins else p for p in pins_] for pins_ in columns["recent"].to_pylist()])
    for path in (world.root / "log").iterdir():
        path.unlink()
    pq.write_table(pa.table(columns), world.root / "log" / "all.parquet")
    return kept.count(False)


def test_records_are_those_of_a_log_without_them(world: SmallWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ranker.data.log.impression_log.BLOCK_ROWS", 37)
    summary, found = prepared(world, "forgetting", FORGOTTEN)
    hashes = {int(hash) >> 32 for hash in hash_ids(pa.array(["u3", "u5", "p7"], pa.large_string()))}
    gone = without(world, {"u3", "u5"}, {"p7"})
    assert gone > 10 and summary.mended == {"impressions of forgotten ids left out": gone}
    plain, expected = prepared(world, "without", Forgotten())
    assert plain.mended == {} and (summary.counts, summary.vocabularies) == (plain.counts, plain.vocabularies)
    for split in SPLITS:
        assert found[split].tobytes() == expected[split].tobytes(), split
        assert not hashes & set(found[split]["hashes"].ravel().tolist()) and not hashes & set(
            found[split]["user"].tolist()
        )


def test_rows_keep_their_numbers_in_messages(world: SmallWorld) -> None:
    clicks = world.columns["click"].astype(int).copy()
    users = list(world.columns["user_id"])
    users[:5] = ["u3"] * 5
    clicks[8] = 7
    world.write(click=clicks, user_id=users)
    with pytest.raises(DataError, match=r"part-0\.parquet: row 8: click is 7"):
        prepared(world, "prepared", FORGOTTEN)


def test_another_list_is_another_log(world: SmallWorld) -> None:
    def identity(ids: dict[str, list[str]]) -> str:
        return json.dumps(ImpressionLog(config(), world.root, None, Forgotten.of(ids)).identity())

    told = {identity(ids) for ids in ({}, {"user": ["u3"]}, {"user": ["u3", "u5"]}, {"pin": ["u3"]})}
    assert len(told) == 4 and not any("u3" in one for one in told)
    assert identity({"user": ["u3", "u5"]}) == identity({"user": ["u5", "u3"]})


def test_what_is_reported(world: SmallWorld, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    settings = config(arms={"none": config().arms["none"]}, training={"batch_size": 512})
    report = rank(settings, world.root, {}, out, lambda *_: None, out, forgotten={"user": ["u3"]})
    assert report["mended"]["impressions of forgotten ids left out"] == world.columns["user_id"].count("u3")


def test_the_module_alone_refuses_a_list_that_it_cannot_read(tmp_path: Path) -> None:
    whole = {"ranker": config().model_dump(mode="json"), "graph": {"forget": {"source": "gone"}}}
    (tmp_path / "resolved.json").write_text(json.dumps(whole))
    with pytest.raises(ConfigError, match="graph.forget: only `transra rank` leaves out impressions"):
        load(tmp_path / "resolved.json", ["all"])
