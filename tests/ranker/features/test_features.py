"""Features for other models: held to a reference by hand, null where nothing is known, whole or not there at all."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artifacts.embeddings import Embeddings
from artifacts.errors import ConfigError, DataError
from ranker import RankerConfig, write_features
from ranker.data.ids.exports import Export
from ranker.features.file import MARK
from tests.worlds.small_impressions import CAP, DAY, SLOTS, START, SmallWorld, config, small_world

TIMED = {**SLOTS, "recent": {**SLOTS["recent"], "times": "recent_ts"}}
ROWS = 2000


@pytest.fixture
def world(tmp_path: Path) -> SmallWorld:
    """The first row is of an unknown user, an unknown ad and an empty list, the second of no ad at all."""
    world = small_world(tmp_path, rows=ROWS)
    columns = world.columns
    columns["user_id"][0], columns["pin_id"][0], columns["recent"][0] = "stranger", "p999", []
    columns["pin_id"][1] = None
    ages = [[60 * 2**place for place in range(len(ids))] for ids in columns["recent"]]
    columns["recent_ts"] = [[int(ts) - age for age in listed] for ts, listed in zip(columns["ts"], ages, strict=True)]
    world.write()
    return world


def settings(**changes: Any) -> RankerConfig:
    return config(**{"slots": TIMED, "counts": [["user_id", "pin_id"], ["campaign"]], **changes})


def written(world: SmallWorld, chosen: RankerConfig, **given: Any) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    out = world.root / "features.parquet"
    export = {"base": Export(world.export, START - 1)}
    report = write_features(chosen, world.root, export, out, lambda step, done: None, **given)
    table = pq.read_table(out)
    assert table.schema.names == report["columns"] and len(table) == report["rows"]
    return report, table.to_pydict()


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def by_hand(world: SmallWorld, row: int) -> dict[str, float | None]:
    """The features of one row, an id at a time."""
    export, columns = Embeddings(world.export), world.columns

    def vector(type: str, id: str | None) -> np.ndarray | None:
        (at,) = export.rows(type, [id]) if id is not None else (-1,)
        return None if at < 0 else np.asarray(export.vectors(type)[at])

    def degree(type: str, id: str | None) -> float | None:
        degrees = export.degrees(type)
        assert degrees is not None
        return None if vector(type, id) is None else float(degrees[export.rows(type, [str(id)])[0], 0])

    user, pin, recent = (columns[name][row] for name in ("user_id", "pin_id", "recent"))
    u, p = vector("user", user), vector("pin", pin)
    listed = [None if v is None or p is None else cosine(v, p) for v in (vector("pin", id) for id in recent)]
    known = [value for value in listed if value is not None]
    of_3 = [value for value in listed[:3] if value is not None]
    same = [id == pin for id in recent]
    place = same.index(True) if any(same) else None

    def if_ad(value: float) -> float | None:
        return None if pin is None else value

    def mean(values: list[float]) -> float | None:
        return float(np.mean(values)) if values else None

    def age(place: int | None) -> float | None:
        return None if place is None or place >= len(recent) else 60.0 * 2**place

    return {
        "cos_user_id_pin_id": None if u is None or p is None else cosine(u, p),
        "dot_user_id_pin_id": None if u is None or p is None else float(u @ p),
        "cos_recent_pin_id_last": listed[0] if listed else None,
        "cos_recent_pin_id_max": max(known) if known else None,
        "cos_recent_pin_id_mean_3": mean(of_3),
        "cos_recent_pin_id_mean": mean(known),
        "age_recent_1": age(0),
        "age_recent_3": age(2),
        "match_recent_pin_id_last": if_ad(float(same[:1] == [True])),
        "match_recent_pin_id_of_3": if_ad(sum(same[:3])),
        "match_recent_pin_id_of_all": if_ad(sum(same)),
        "match_recent_pin_id_place": None if place is None else place + 1,
        "match_recent_pin_id_age": age(place),
        "degree_user_id_click_lhs": degree("user", user),
        "degree_pin_id_click_rhs": degree("pin", pin),
    }


@pytest.mark.parametrize("block", [1 << 16, 97])
def test_features_are_those_by_hand(world: SmallWorld, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr("ranker.data.log.impression_log.BLOCK_ROWS", block)
    monkeypatch.setattr("ranker.features.rows.CHUNK_BYTES", 5000)
    _, found = written(world, settings())
    named = sum(pin in ids for pin, ids in zip(world.columns["pin_id"], world.columns["recent"], strict=True))
    assert named > 20
    for row in range(200):
        for name, value in by_hand(world, row).items():
            wanted = None if value is None else pytest.approx(value, rel=1e-5, abs=1e-6)
            assert found[name][row] == wanted, (row, name)
    expected = set(by_hand(world, 0)) | set(settings().count_features)
    about = {"log_file", "log_row", "split", "ts", "user_id", "pin_id", "campaign", "click", "conversion"}
    assert set(found) == expected | about


def test_unknown_is_null_and_not_0(world: SmallWorld) -> None:
    _, found = written(world, settings())
    unknown = [name for name in found if name.startswith(("cos_", "dot_", "age_", "degree_"))]
    assert {found[name][0] for name in unknown} == {None}
    assert [found[f"match_recent_pin_id_{name}"][0] for name in ("last", "of_all", "place")] == [0, 0, None]
    no_ad = [name for name in found if "pin_id" in name]
    assert {found[name][1] for name in no_ad} == {None}


def test_counts_are_of_earlier_days(world: SmallWorld) -> None:
    _, found = written(world, settings())
    days, campaigns = np.asarray(world.columns["ts"]) // DAY, np.asarray(world.columns["campaign"])
    clicks = np.asarray(world.columns["click"])
    for row in range(0, ROWS, 50):
        before = (campaigns == campaigns[row]) & (days < days[row])
        assert found["campaign_impressions"][row] == before.sum()
        assert found["campaign_clicks"][row] == clicks[before].sum()
    assert written(world, settings(counts=[]))[0]["columns"] == [n for n in found if n not in settings().count_features]


def test_rows_can_be_joined_to_the_log(world: SmallWorld) -> None:
    """By file and row, also where rows are left out; labels and splits are those that are trained on."""
    chosen = settings(where="position <> 2", split={"valid_from": "2026-01-08", "test_from": "2026-01-09"})
    report, found = written(world, chosen)
    log = pq.read_table(world.root / "log" / "part-0.parquet").to_pylist()
    assert report["rows"] == sum(row["position"] != 2 for row in log) == ROWS - report["rows_left_out"]
    assert set(found["log_file"]) == {"log/part-0.parquet"} and found["log_row"] == sorted(found["log_row"])
    starts = {"train": START, "valid": START + 7 * DAY, "test": START + 8 * DAY}
    for place, row in enumerate(found["log_row"]):
        assert log[row]["position"] != 2
        for name in ("user_id", "pin_id", "campaign", "click", "conversion"):
            assert found[name][place] == log[row][name]
        assert found["ts"][place].timestamp() == log[row]["ts"]
        assert found["split"][place] == max((s for s in starts if starts[s] <= log[row]["ts"]), key=lambda s: starts[s])


def test_conversions_that_are_not_known_are_null(world: SmallWorld) -> None:
    labels = {**settings().labels.model_dump(), "observed_until": "2026-01-10"}
    _, found = written(world, settings(labels=labels))
    known = np.array([value is not None for value in found["conversion"]])
    assert 0 < known.mean() < 1
    np.testing.assert_array_equal(known, np.asarray(world.columns["ts"]) + 7 * DAY <= START + 9 * DAY)


def test_ids_that_are_numbers_stay_numbers(world: SmallWorld) -> None:
    world.write(campaign=np.arange(ROWS))
    written(world, settings())
    schema = pq.read_schema(world.root / "features.parquet")
    assert schema.field("campaign").type == pa.int64() and schema.field("user_id").type == pa.large_string()
    beyond = np.arange(ROWS, dtype=np.uint64) + 2**63
    world.write(campaign=beyond)
    written(world, settings())
    assert pq.read_table(world.root / "features.parquet")["campaign"].to_pylist() == beyond.tolist()


def test_forgotten_people_and_pseudonyms(world: SmallWorld) -> None:
    report, found = written(world, settings(), forgotten={"user": ["u3"], "pin": ["p7"]})
    assert report["rows"] < ROWS and "u3" not in found["user_id"] and "p7" not in found["pin_id"]
    key = bytes(32)
    with pytest.raises(DataError, match="slot user_id: 0.0% of its traffic is known to export base"):
        written(world, settings(), id_key=key)
    _, found = written(world, settings(min_match_rate=0), id_key=key)
    assert not {"u3", "u4"} & set(found["user_id"]) and "c1" in found["campaign"], "the graph does not know campaigns"


def test_what_the_export_hardly_knows_is_refused_and_leaves_nothing(world: SmallWorld) -> None:
    world.write(pin_id=["other"] * ROWS)
    with pytest.raises(DataError, match=r"slot pin_id: 0.0% of its traffic is known to export base"):
        written(world, settings())
    assert sorted(path.name for path in world.root.iterdir()) == ["embeddings.h5", "log"]


def test_a_graph_that_has_seen_the_labels_is_refused(world: SmallWorld) -> None:
    with pytest.raises(ConfigError, match="it has seen the labels"):
        write_features(
            settings(), world.root, {"base": Export(world.export, START + DAY)}, world.root / "o.parquet", print
        )
    assert not (world.root / "o.parquet").exists()


def test_a_log_that_changes_while_it_is_read_is_refused(world: SmallWorld) -> None:
    """Counts are made by an earlier pass than rows."""
    chosen, export = settings(counts=[["pin_id"]]), {"base": Export(world.export, START - 1)}
    with pytest.raises(DataError, match="part-0.parquet: changed while it was read"):
        write_features(chosen, world.root, export, world.root / "o.parquet", lambda step, done: world.write())
    assert not (world.root / "o.parquet").exists()


def test_names_that_clash_are_refused(world: SmallWorld) -> None:
    world.columns["split"] = world.columns["campaign"]
    world.write()
    slots = {**TIMED, "split": {"side": "ad"}}
    with pytest.raises(ConfigError, match="two columns of the file would be 'split'"):
        written(world, settings(slots=slots))


def test_only_an_earlier_output_is_replaced(world: SmallWorld) -> None:
    out = world.root / "features.parquet"
    first = written(world, settings())[1]
    assert MARK in pq.read_metadata(out).metadata
    assert written(world, settings())[1] == first
    pq.write_table(pa.table({"a": [1]}), out)
    before = out.read_bytes()
    with pytest.raises(ConfigError, match=r"features.parquet: exists, and was not written by `transra features`"):
        written(world, settings())
    assert out.read_bytes() == before
    out.unlink()
    out.mkdir()
    with pytest.raises(ConfigError, match="exists, and was not written"):
        written(world, settings())
    out.rmdir()
    os.mkfifo(out)
    with pytest.raises(ConfigError, match="exists, and was not written"):
        written(world, settings())


@pytest.mark.parametrize(
    ("out", "message"), [("log/f.parquet", "lies where ranker.impressions are"), ("no/f.parquet", "is no directory")]
)
def test_a_place_where_it_must_not_be_is_refused(world: SmallWorld, out: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        write_features(settings(), world.root, {"base": Export(world.export, START - 1)}, world.root / out, print)


def test_a_file_that_the_config_names_has_room_beside_it(world: SmallWorld) -> None:
    chosen = settings(impressions="log/part-0.parquet")
    export = {"base": Export(world.export, START - 1)}
    write_features(chosen, world.root, export, world.root / "log" / "f.parquet", lambda step, done: None)
    with pytest.raises(ConfigError, match="exists, and was not written by"):
        write_features(chosen, world.root, export, world.root / "log" / "part-0.parquet", print)


KILLED = """
import sys, time
from pathlib import Path
from ranker import write_features
from ranker.data.ids.exports import Export
from tests.ranker.features.test_features import settings
from tests.worlds.small_impressions import START

def progress(step, done):
    if step == "rows":
        print("half-way", flush=True)
        time.sleep(60)

root = Path(sys.argv[1])
import ranker.data.log.impression_log
ranker.data.log.impression_log.BLOCK_ROWS = 100
write_features(settings(), root, {"base": Export(root / "embeddings.h5", START - 1)}, root / "o.parquet", progress)
"""


def test_killed_half_way_leaves_nothing_where_the_file_would_be(world: SmallWorld) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(world.root)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "half-way\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not (world.root / "o.parquet").exists() and (world.root / ".o.parquet.partial").is_dir()
    export = {"base": Export(world.export, START - 1)}
    write_features(settings(), world.root, export, world.root / "o.parquet", lambda step, done: None)
    assert sorted(path.name for path in world.root.iterdir()) == ["embeddings.h5", "log", "o.parquet"]
    assert pq.read_metadata(world.root / "o.parquet").num_rows == ROWS


def test_a_list_of_one_has_all_columns(world: SmallWorld) -> None:
    slots = {**TIMED, "recent": {**TIMED["recent"], "cap": 1}}
    _, found = written(world, settings(slots=slots))
    assert "age_recent_1" in found and "age_recent_3" not in found and CAP > 1
    row = next(row for row, ids in enumerate(world.columns["recent"]) if len(ids) > 1 and row > 1)
    assert found["cos_recent_pin_id_mean"][row] == found["cos_recent_pin_id_last"][row]
