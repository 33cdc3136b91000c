"""From the log to records: streaming, joins, transforms and labels, and what is refused."""

import os
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from artifacts.embeddings import Embeddings, hash_ids
from artifacts.errors import ConfigError, DataError, TransraError
from artifacts.files.json_file import read_json
from ranker import rank
from ranker.data.ids.exports import Export, open_exports
from ranker.data.log.impression_log import UNKNOWN, ImpressionLog
from ranker.data.log.parts import Part, file_parts
from ranker.data.log.windows import Windows
from ranker.data.prepare import prepare
from ranker.data.records import SPLITS, Records, Split, Summary
from ranker.evaluation.report import match_lines
from tests.worlds.small_impressions import (
    DAY,
    DIMENSION,
    PINS,
    START,
    USERS,
    SmallWorld,
    config,
    small_world,
    write_export,
)


@pytest.fixture
def world(tmp_path: Path) -> SmallWorld:
    return small_world(tmp_path, rows=3000)


def prepared(world: SmallWorld, **changes: Any) -> tuple[Summary, dict[str, Records]]:
    settings = config(**changes)
    exports = open_exports({"base": Export(world.export, START - 1)}, settings)
    log = ImpressionLog(settings, world.root)
    windows = Windows.of(log)
    windows.check({"base": START - 1})
    directory = world.root / "prepared"
    summary = prepare(log, windows, exports, "key", directory, lambda text, done: None)
    splits = {name: Split.of(directory, name, summary) for name in SPLITS}
    return summary, {name: split.read(0, len(split)) for name, split in splits.items()}


def test_streaming_equals_the_whole(world: SmallWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three files read 37 rows at a time give the records that one file read at once gives."""
    monkeypatch.setattr("ranker.data.log.impression_log.BLOCK_ROWS", 37)
    _, streamed = prepared(world)
    monkeypatch.setattr("ranker.data.log.impression_log.BLOCK_ROWS", 1 << 20)
    (world.root / "log" / "part-0.parquet").unlink()
    pq.write_table(pa.table(world.columns), world.root / "log" / "all.parquet", row_group_size=1 << 20)
    (world.root / "prepared" / "summary.json").unlink()
    _, whole = prepared(world)
    for name in SPLITS:
        assert np.array_equal(streamed[name].tobytes(), whole[name].tobytes())


def test_rows_are_those_of_the_export(world: SmallWorld) -> None:
    _, records = prepared(world)
    everything = np.concatenate(list(records.values()))
    export = Embeddings(world.export)
    assert np.array_equal(everything["rows"][:, 0, 0], export.rows("user", world.columns["user_id"]))
    assert np.array_equal(everything["rows"][:, 0, 6], export.rows("pin", world.columns["pin_id"]))
    assert (everything["rows"][:, 0, 7] == -1).all()  # the graph does not know campaigns
    recent = world.columns["recent"]
    lengths = (everything["hashes"][:, 1:6] != 0).sum(axis=1)
    assert lengths.tolist() == [len(ids) for ids in recent]
    longest = int(np.argmax(lengths))
    assert everything["rows"][longest, 0, 1:6].tolist() == export.rows("pin", recent[longest]).tolist()
    hashes = hash_ids(pa.array(world.columns["pin_id"], pa.large_string())) >> np.uint64(32)
    assert np.array_equal(everything["hashes"][:, 6], hashes.astype(np.uint32))


def test_missing_ids_and_lists_match_nothing(world: SmallWorld) -> None:
    world.write(pin_id=[None, *world.columns["pin_id"][1:]], recent=[None, *world.columns["recent"][1:]])
    summary, records = prepared(world)
    first = records["train"][0]
    assert first["hashes"][6] == 0 and first["rows"][0, 6] == -1 and not first["hashes"][1:6].any()
    assert summary.match_rates["base"]["pin_id"]["traffic"] == 1


def test_transforms_are_fitted_on_train_alone(world: SmallWorld) -> None:
    """What happens in the test window changes no training record."""
    _, before = prepared(world)
    late = np.asarray(world.columns["ts"]) >= START + 8 * DAY
    age = np.where(late, 1e6, world.columns["age"].to_numpy(zero_copy_only=False))
    device = np.where(late, "toaster", world.columns["device"])
    world.write(age=pa.array(age, mask=np.isnan(age)), device=device.tolist())
    (world.root / "prepared" / "summary.json").unlink()
    summary, after = prepared(world)
    assert before["train"].tobytes() == after["train"].tobytes()
    assert (after["test"]["categoricals"] == 0).all()  # never seen in train
    assert summary.vocabularies == [4] and summary.missing == [False, True, False]
    for name, low, high in (("position", -1.5, 1.5), ("age", -1.8, 1.8), ("recent", -2.5, 1.5)):
        values = before["train"]["numerics"][:, ["position", "age", "recent"].index(name)]
        values = values[~np.isnan(values)]
        assert abs(values.mean()) < 0.01 and abs(values.std() - 1) < 0.01
        assert low < values.min() and values.max() < high


def test_hive_partitions_become_columns(world: SmallWorld) -> None:
    table = pa.table({name: values for name, values in world.columns.items() if name != "device"})
    for index, device in enumerate(("ios", "web")):
        directory = world.root / "hive" / f"device={device}"
        directory.mkdir(parents=True)
        pq.write_table(table.slice(index, len(table) - index), directory / "part.parquet")
    summary, records = prepared(world, impressions="hive")
    assert summary.vocabularies == [3]
    assert set(np.unique(records["train"]["categoricals"])) == {1, 2}


@pytest.mark.parametrize("unit", ["ms", "timestamp"])
def test_times_in_other_units_split_alike(world: SmallWorld, unit: str) -> None:
    summary, _ = prepared(world)
    (world.root / "prepared" / "summary.json").unlink()
    ts = pa.array(world.columns["ts"])
    converted = world.columns["conversion_ts"]
    if unit == "ms":
        times = {"ts": pa.array(world.columns["ts"] * 1000), "conversion_ts": None}
        labels = {"click": "click", "conversion": "conversion"}
        world.write(**times)
        again, _ = prepared(world, time_unit="ms", labels=labels)
    else:
        world.write(ts=ts.cast(pa.timestamp("s", "UTC")), conversion_ts=converted.cast(pa.timestamp("s", "UTC")))
        again, _ = prepared(world)
    assert again.counts == summary.counts and again.windows == summary.windows


def test_unknown_yet_is_not_zero(world: SmallWorld) -> None:
    """Until its attribution window has closed, an impression's conversion is unknown; after it, too late."""
    until = START + 9 * DAY
    labels = dict(config().labels.model_dump(), attribution_days=1.0, observed_until=until)
    late = pa.array(np.asarray(world.columns["ts"]) + 2 * DAY, mask=np.asarray(world.columns["conversion"]) == 0)
    settings = config(labels=labels)
    for changes, rate in (({}, True), ({"conversion_ts": late}, False)):
        world.write(**changes)
        log = ImpressionLog(settings, world.root)
        (block,) = log.blocks()
        found, still_open = log.conversions(block), log.times(block) + DAY > until
        assert (found[still_open] == UNKNOWN).all() and (found[~still_open] != UNKNOWN).all()
        assert (found[~still_open] == 1).any() == rate


def test_test_days_of_which_no_conversion_is_known_are_refused_with_the_reason(world: SmallWorld) -> None:
    world.write()
    labels = dict(config().labels.model_dump(), attribution_days=5.0, observed_until=START + 9 * DAY)
    refuses(
        world,
        DataError,
        r"conversion: 0 of 0 test rows are 1, expected both classes; of [1-9]\d* more it is not known",
        labels=labels,
    )


def test_shuffling_moves_every_row_once(world: SmallWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ranker.data.records.READ_ROWS", 64)
    summary, records = prepared(world)
    split = Split.of(world.root / "prepared", "train", summary)
    once = np.concatenate(list(split.shuffled(np.random.default_rng(0), 256, 1.0)))
    again = np.concatenate(list(split.shuffled(np.random.default_rng(0), 256, 1.0)))
    assert once.tobytes() == again.tobytes() != records["train"].tobytes()
    assert sorted(row.tobytes() for row in once) == sorted(row.tobytes() for row in records["train"])
    fewer = np.concatenate(list(split.shuffled(np.random.default_rng(0), 256, 0.25)))
    assert (fewer["click"] == 1).sum() == (once["click"] == 1).sum()
    assert (fewer["click"] == 0).sum() == pytest.approx(0.25 * (once["click"] == 0).sum(), rel=0.15)


def refuses(
    world: SmallWorld, kind: type[TransraError], message: str, end: int | None = START - 1, **changes: Any
) -> None:
    (world.root / "out").mkdir(exist_ok=True)
    with pytest.raises(kind, match=message) as caught:
        rank(
            config(**changes),
            world.root,
            {"base": Export(world.export, end)},
            world.root / "out",
            lambda *_: None,
            world.root,
        )
    assert all("\n" not in line for line in caught.value.lines)


@pytest.mark.parametrize("end", [START + DAY, START + 9 * DAY])
def test_a_graph_that_has_seen_the_labels_is_refused(world: SmallWorld, end: int) -> None:
    assert ConfigError.exit_code == 2
    refuses(
        world,
        ConfigError,
        "the graph of base was trained on events until 2026-01-.*it has seen the labels.*ranker.where",
        end=end,
    )


def test_the_graph_may_end_just_before_the_first_impression(world: SmallWorld) -> None:
    log = ImpressionLog(config(), world.root)
    windows = Windows.of(log)
    windows.check({"one": windows.first - 1, "without time": None})
    with pytest.raises(ConfigError, match="the graph of two was trained"):
        windows.check({"one": windows.first - 1, "two": windows.first})


BAD_COLUMNS = {
    "missing label": ({"click": None}, r"part-0.parquet: no column 'click' \(ranker.labels.click\)"),
    "label not 0/1": ({"click": [0, 2] * 1500}, r"part-0.parquet: row 1: click is 2, expected 0 or 1"),
    "label missing": ({"click": [0, None] * 1500}, r"row 1: click is missing, expected 0 or 1"),
    "label is text": ({"click": ["no", "yes"] * 1500}, r"column click is string, expected 0 and 1"),
    "one class": ({"click": [0] * 3000}, r"click: 0 of \d+ train rows are 1, expected both classes"),
    "future": (
        {"ts": np.arange(3000) * 300 + 4_000_000_000, "conversion_ts": pa.nulls(3000, pa.int64())},
        r"training impressions of 2096-.* lie in the future \(ranker.time_unit\)",
    ),
    "no time": ({"ts": pa.array([None] * 3000, pa.int64())}, r"row 0: ts is missing, expected a time"),
    "list without cap": (
        {"pin_id": [["p1"]] * 3000},
        r"column pin_id is list.*expected ids; a list column needs a cap",
    ),
    "no list": ({"recent": ["p1"] * 3000}, r"column recent is string, expected numbers"),
    "no list of ids": ({"recent": [[0.5]] * 3000}, r"column recent is double, expected integers, text, UUIDs or dates"),
    "ids that are floats": ({"user_id": np.arange(3000) + 1e16}, r"column user_id is double, expected integers, text"),
    "ids that are decimals": ({"pin_id": [Decimal("1.50")] * 3000}, r"column pin_id is decimal.*, expected integers"),
    "ids that are booleans": ({"pin_id": [True, False] * 1500}, r"column pin_id is bool, expected integers, text"),
    "coarse times": ({"ts": np.float32(START + np.arange(3000))}, r"column ts is float, in which times lie minutes"),
    "times that are lists": ({"ts": [[1]] * 3000}, r"column ts is list.*expected times"),
    "numbers that are text": ({"age": ["old"] * 3000}, r"column age is string, expected numbers"),
    "unknown ids": (
        {"user_id": ["stranger"] * 3000},
        r"slot user_id: 0.0% of its traffic is known to export base, expected at least 50.0% \(ranker.min_match_rate\)",
    ),
}


@pytest.mark.parametrize("case", BAD_COLUMNS)
def test_bad_columns_are_refused(world: SmallWorld, case: str) -> None:
    columns, message = BAD_COLUMNS[case]
    world.write(**columns)
    refuses(world, DataError, message)


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (
            {"valid_from": "2026-01-10", "test_from": "2026-02-01"},
            r"ranker.split: test is empty \(the log spans 2026-01",
        ),
        ({"valid_from": "2025-12-01", "test_from": "2026-01-05"}, "ranker.split: train is empty"),
    ],
)
def test_an_empty_split_is_refused(world: SmallWorld, split: dict[str, str], message: str) -> None:
    refuses(world, DataError, message, split=split)


def test_missing_and_broken_files_are_refused(world: SmallWorld) -> None:
    refuses(
        world,
        DataError,
        r"nowhere/\*.parquet: no Parquet files \(ranker.impressions\)",
        impressions="nowhere/*.parquet",
    )
    path = world.root / "log" / "part-0.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    refuses(world, DataError, "part-0.parquet: expected a whole Parquet file")


@pytest.mark.parametrize(
    ("expect", "message"),
    [
        ({"dimension": 64}, r"embeddings.h5: dimension is 8, expected 64 \(ranker.expect.dimension\)"),
        ({"anchors": ["save"]}, r"anchors is \['click'\], expected \['save'\] \(ranker.expect.anchors\)"),
        ({"run": "20990101"}, r"run is '20260101-small', expected '20990101' \(ranker.expect.run\)"),
    ],
)
def test_an_export_of_another_kind_is_refused(world: SmallWorld, expect: dict[str, Any], message: str) -> None:
    refuses(world, DataError, message, expect=expect)


def test_an_export_without_a_slots_type_is_refused(world: SmallWorld) -> None:
    world.export.unlink()
    write_export(world.export, {"user": np.ones((USERS, DIMENSION))})
    refuses(world, DataError, r"slot pin_id needs entity type 'pin' \(exported: user\)")


def test_a_truncated_export_is_refused(world: SmallWorld) -> None:
    data = world.export.read_bytes()
    world.export.write_bytes(data[: len(data) // 2])
    refuses(world, DataError, "embeddings.h5: expected a whole export")


def test_vectors_that_are_not_numbers_are_refused(world: SmallWorld) -> None:
    pins = np.ones((PINS, DIMENSION))
    pins[7, 3] = np.nan
    world.export.unlink()
    write_export(world.export, {"user": np.ones((USERS, DIMENSION)), "pin": pins})
    refuses(world, DataError, r"/entities/pin: the vector of 'p7' is not finite")


def rewritten(world: SmallWorld, **columns: Any) -> None:
    """The first file of the log with some columns replaced."""
    path = world.root / "log" / "part-0.parquet"
    table = pq.read_table(path)
    for name, values in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, [values])
    pq.write_table(table.slice(0, 1000), world.root / "log" / "part-0.parquet")
    pq.write_table(pa.table(world.columns).slice(1000), world.root / "log" / "part-1.parquet")


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("device", pa.array([7] * 3000), "column 'device' is text, but integer in"),
        ("pin_id", pa.array([7] * 3000), "column 'pin_id' is text, but integer in"),
        ("device", pa.array([7.5] * 3000), "column 'device' is text, but double in"),
        ("age", pa.array(["old"] * 3000), "column 'age' is a number, but text in"),
        ("ts", pa.array(np.arange(3000) + START).cast(pa.timestamp("s")), "column 'ts' is a number, but a timestamp"),
    ],
)
def test_files_that_disagree(world: SmallWorld, name: str, values: pa.Array, message: str) -> None:
    """Category 7 beside "07": compared as text they would be two things without a word."""
    rewritten(world, **{name: values})
    refuses(world, DataError, f"part-1.parquet: {message} .*part-0.parquet")


def test_numbers_of_files_are_widened(world: SmallWorld) -> None:
    before, _ = prepared(world)
    (world.root / "prepared" / "summary.json").unlink()
    rewritten(world, position=pa.array(world.columns["position"].astype(np.float64)), device=pa.nulls(3000))
    after, records = prepared(world)
    assert after.counts == before.counts
    assert (records["train"]["categoricals"][:1000] == 0).all(), "a day of nulls agrees with any type"


def test_patterns_are_those_of_the_graph(world: SmallWorld) -> None:
    before, _ = prepared(world)
    whole = world.root / "log" / "part-0.parquet"
    (world.root / "log" / "current").symlink_to(".")
    (world.root / "log" / "_temporary").mkdir()
    (world.root / "log" / "_temporary" / "x.parquet").write_bytes(whole.read_bytes())
    whole.rename(whole.with_suffix(".pq"))
    for pattern in ("log", "log/**/*.pq", "log/part-?.*", "log/part-[0].pq", ["log", "log/../log/*.pq"]):
        (world.root / "prepared" / "summary.json").unlink()
        again, _ = prepared(world, impressions=pattern)
        assert again.counts == before.counts


def test_a_stored_column_and_its_key(world: SmallWorld) -> None:
    world.write(device=["07"] * 3000)
    (world.root / "hive" / "device=07").mkdir(parents=True)
    (world.root / "log" / "part-0.parquet").rename(world.root / "hive" / "device=07" / "x.parquet")
    prepared(world, impressions="hive")
    (world.root / "hive" / "device=07").rename(world.root / "hive" / "device=7")
    refuses(world, DataError, "x.parquet: row 0: device is 07, but its directory says device=7", impressions="hive")


def test_times_as_text_and_fractions(world: SmallWorld) -> None:
    before, _ = prepared(world)
    ts = world.columns["ts"]
    texts = pa.array(ts).cast(pa.timestamp("s")).cast(pa.string())
    labels = {"click": "click", "conversion": "conversion"}
    zoned = pa.array([f"{text}Z" for text in texts.to_pylist()])
    fractions = pa.array(ts * 1_000_000_000 + 999_999_999).cast(pa.timestamp("ns", "UTC"))
    for column in (texts, zoned, fractions, pa.array(ts + 0.75)):
        (world.root / "prepared" / "summary.json").unlink()
        world.write(ts=column, conversion_ts=None)
        after, _ = prepared(world, labels=labels)
        assert after.windows == before.windows
    world.write(ts=["soon"] * 3000, conversion_ts=None)
    refuses(world, DataError, "column ts is string, expected ISO dates or times", labels=labels)


@pytest.mark.parametrize("odd", [0, 1])
def test_one_time_that_is_a_default(world: SmallWorld, odd: int) -> None:
    ts = world.columns["ts"].copy()
    ts[7] = odd
    world.write(ts=ts)
    refuses(world, DataError, "part-0.parquet: row 7: ts is 1970-01-01T00:00:0.Z, but the latest 2026", end=None)
    ts[7] = -5
    world.write(ts=ts)
    refuses(world, DataError, "row 7: ts is -5, expected a time in 1970 to 2200", end=None)


def test_uuids_are_joined_as_text(world: SmallWorld) -> None:
    uuids = [UUID(int=index) for index in range(3)]
    column = pa.array([uuid.bytes for uuid in uuids] * 1000, pa.uuid())
    world.export.unlink()
    write_export(world.export, {"user": np.ones((USERS, DIMENSION)), "pin": np.ones((PINS, DIMENSION))})
    for campaign in (column, pa.array([str(uuid) for uuid in uuids] * 1000)):
        world.write(campaign=campaign)
        _, records = prepared(world)
        (world.root / "prepared" / "summary.json").unlink()
        at = config().slots
        assert list(at) == ["user_id", "recent", "pin_id", "campaign"]
        expected = hash_ids(pa.array([str(uuid) for uuid in uuids], pa.large_string())) >> np.uint64(32)
        assert set(records["train"]["hashes"][:, 7].tolist()) == set(expected.tolist())


def test_what_was_mended_is_said(world: SmallWorld) -> None:
    early = world.columns["conversion_ts"].to_pylist()
    at = next(index for index, moment in enumerate(early) if moment is not None)
    early[at] = int(world.columns["ts"][at]) - 5
    age = world.columns["age"].to_pylist()
    age[3] = 1e300
    pins = [None, None, *world.columns["pin_id"][2:]]
    world.write(conversion_ts=early, age=age, pin_id=pins)
    summary, records = prepared(world)
    assert summary.mended == {"conversions before their impression dropped": 1, "age clipped to 1e+15": 1}
    everything = np.concatenate(list(records.values()))
    assert everything["conversion"][at] == 0 and np.isfinite(everything["numerics"][3]).all()
    assert summary.match_rates["base"]["pin_id"]["rows_without_id"] == 2 / 3000
    report = {"match_rates": summary.match_rates, "mended": summary.mended}
    lines = match_lines(report)
    assert "pin_id 100.0% (distinct ids 100.0%, 0.1% of rows without an id)" in lines[0]
    assert lines[1:] == ["conversions before their impression dropped: 1", "age clipped to 1e+15: 1"]


def spoilt(world: SmallWorld) -> dict[str, Any]:
    """The log with three rows that cannot be read."""
    columns = {name: list(world.columns[name]) for name in ("click", "conversion", "ts")}
    columns["click"][10], columns["ts"][1500], columns["conversion"][2999] = None, -5, 7
    return columns


def test_bad_rows_are_refused_or_dropped(world: SmallWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left is the log without them; they are counted by what was wrong."""
    monkeypatch.setattr("ranker.data.log.impression_log.BLOCK_ROWS", 700)
    world.write(**spoilt(world))
    with pytest.raises(DataError):
        prepared(world)
    summary, found = prepared(world, on_bad_rows="drop")
    dropped = {what: count for what, count in summary.mended.items() if what.startswith("rows dropped")}
    assert dropped == {
        "rows dropped, as click is missing": 1,
        "rows dropped, as ts is not in 1970 to 2200": 1,
        "rows dropped, as conversion is neither 0 nor 1": 1,
    }
    good = [row for row in range(3000) if row not in (10, 1500, 2999)]
    for path in world.root.glob("log/*"):
        path.unlink()
    (world.root / "prepared" / "summary.json").unlink()
    whole = {name: [values[row] for row in good] for name, values in world.columns.items()}
    world.write(**whole)
    _, expected = prepared(world)
    for name in SPLITS:
        assert found[name].tobytes() == expected[name].tobytes()


def test_too_many_bad_rows_are_refused(world: SmallWorld) -> None:
    world.write(**spoilt(world))
    with pytest.raises(DataError, match=r"row 10: click is missing; 3 of 3,000 rows are bad, expected at most 0.05%"):
        prepared(world, on_bad_rows="drop", max_bad_share=0.0005)


def test_rows_keep_their_numbers_where_others_are_dropped(world: SmallWorld) -> None:
    columns = spoilt(world)
    columns["ts"][20] = 1
    world.write(**columns)
    with pytest.raises(DataError, match="row 20: ts is 1970-01-01T00:00:01Z, but the latest"):
        prepared(world, on_bad_rows="drop")


@pytest.mark.parametrize("of", [pa.list_, pa.large_list])
def test_long_lists_are_cut_to_their_latest_ids(world: SmallWorld, of: Any) -> None:
    """The records are those of a log whose lists are as long as the cap; a list of just that length is whole."""
    lists = [[f"p{row % 60}", *("p1", None, "p2", "p3")[: row % 5], *["p9", "p8"] * (row % 3)] for row in range(3000)]
    lists[7], lists[8] = [], None
    long = sum(len(ids) > 5 for ids in lists if ids)
    world.write(recent=pa.array([ids and ids[:5] for ids in lists], of(pa.string())))
    settings = {"numerics": {"position": "linear"}, "segments": {}}
    whole, expected = prepared(world, **settings)
    (world.root / "prepared" / "summary.json").unlink()
    world.write(recent=pa.array(lists, of(pa.string())))
    summary, found = prepared(world, **settings)
    assert summary.mended == {"lists of recent cut to 5 ids": long} and whole.mended == {}
    assert summary.match_rates == whole.match_rates
    for name in SPLITS:
        assert found[name].tobytes() == expected[name].tobytes()


@pytest.mark.parametrize("ids", [pa.null(), pa.string()])
def test_a_list_slot_may_be_empty_everywhere(world: SmallWorld, ids: pa.DataType) -> None:
    """A new column has no ids yet; a slot of single ids without one is refused, as a wrong column is."""
    world.write(recent=pa.array([[]] * 3000, pa.list_(ids)))
    destination = world.root / "ranked"
    destination.mkdir()
    settings = config(arms={"attention": {"ids": True, "vectors": "attention"}})
    export = {"base": Export(world.export, START - 1)}
    found = rank(settings, world.root, export, destination, lambda text, done: None, world.root / "scalars")
    assert found["match_rates"]["base"]["recent"]["rows_without_id"] == 1
    assert 0 < found["arms"]["attention"]["ctr"]["auc"] < 1
    world.write(user_id=pa.array([None] * 3000, pa.string()))
    with pytest.raises(DataError, match="slot user_id: 0.0% of its traffic is known"):
        rank(settings, world.root, export, destination, lambda text, done: None, world.root / "scalars")


def test_types_that_mean_the_same_are_prepared_alike(tmp_path: Path) -> None:
    world = small_world(tmp_path, 500)
    moments = pa.array(world.columns["ts"], pa.timestamp("s", "UTC"))
    texts = {name: pa.array(world.columns[name]) for name in ("user_id", "device")}
    same = [
        {},
        {"ts": pc.strftime(moments, "%Y-%m-%dT%H:%M:%SZ").dictionary_encode()},
        {"ts": pc.strftime(moments, "%Y-%m-%dT%H:%M:%SZ").cast(pa.string_view())},
        {name: column.cast(pa.string_view()) for name, column in texts.items()},
        {name: column.dictionary_encode() for name, column in texts.items()},
        {"position": pa.array([Decimal(int(value)) for value in world.columns["position"]])},
    ]
    found = []
    for at, changes in enumerate(same):
        world.write(**changes)
        log = ImpressionLog(config(), world.root)
        prepare(log, Windows.of(log), {"base": Embeddings(world.export)}, "key", tmp_path / str(at), lambda *_: None)
        found.append((tmp_path / str(at) / "train.bin").read_bytes())
    assert set(found) == {found[0]} and found[0]


@pytest.mark.parametrize("change", ["is replaced", "is written anew", "vanishes"])
@pytest.mark.parametrize("after", ["footers", "opening", "fit"])
def test_a_log_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, after: str
) -> None:
    """Transforms, counts and records are made by a pass each: of two logs they would be a third."""
    world = small_world(tmp_path, 500)
    path = tmp_path / "log" / "part-0.parquet"

    def meddle(step: str) -> None:
        if step != after:
            return
        if change == "vanishes":
            path.unlink()
        elif change == "is replaced":
            shutil.copy(path, tmp_path / "other")
            os.replace(tmp_path / "other", path)
        else:
            world.write(position=[6 - value for value in world.columns["position"]])

    def opened(*given: Any) -> list[Part]:
        parts = file_parts(*given)
        meddle("footers")
        return parts

    monkeypatch.setattr("ranker.data.log.impression_log.file_parts", opened)
    gone = after == "footers" and change == "vanishes"  # the windows read it at once
    said = "cannot be read" if gone else "changed while it was read; run again"
    with pytest.raises(DataError, match=f"part-0.parquet: {said}"):
        log = ImpressionLog(config(), world.root)
        windows, exports = Windows.of(log), {"base": Embeddings(world.export)}
        meddle("opening")
        prepare(log, windows, exports, "key", tmp_path / "made", lambda step, done: meddle(step))
    assert Summary.load(tmp_path / "made", "key") is None


def test_a_file_without_a_list_has_empty_ones(tmp_path: Path) -> None:
    world = small_world(tmp_path, 500)
    world.write(recent=pa.nulls(500))
    log = ImpressionLog(config(), world.root)
    exports = {"base": Embeddings(world.export)}
    summary = prepare(log, Windows.of(log), exports, "key", tmp_path / "made", lambda *_: None)
    assert summary.match_rates["base"]["recent"]["distinct"] == 0


def test_a_finer_unit_than_the_logs_is_refused(tmp_path: Path) -> None:
    world = small_world(tmp_path, 500)
    with pytest.raises(ConfigError, match="ranker.time_unit: in ms, all impressions lie before 1970.*expected 's'"):
        Windows.of(ImpressionLog(config(time_unit="ms"), world.root))


def test_what_was_found_is_read_as_it_was_written(tmp_path: Path) -> None:
    """A ranking that goes on from prepared impressions reports what an undisturbed one does, to the byte."""
    empty: dict[str, Any] = {name: {} for name in ("shape", "windows", "mended")}
    lists: dict[str, Any] = {name: [] for name in ("vocabularies", "missing", "counted")}
    counts = {name: {"rows": 0} for name in SPLITS}
    rates = {"run": {"user": {"traffic": 1.0, "distinct": 60}}}
    found = Summary(key="k", counts=counts, left_out=0, match_rates=rates, **{**empty, **lists})
    found.save(tmp_path)
    kept = read_json(tmp_path / "summary.json", Summary, "a summary")
    assert repr(kept.match_rates) == repr(rates)
