"""Columns as those write them who keep logs: what means the same is read alike, and what means nothing is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artifacts.embeddings import Embeddings
from artifacts.errors import DataError
from artifacts.moment import epoch_seconds
from ranker.data.log.impression_log import UNKNOWN, ImpressionLog
from ranker.data.log.windows import Windows
from ranker.data.prepare import prepare
from ranker.data.records import SPLITS, Records, Split, Summary
from ranker.scoring.columns import block_of
from tests.worlds.small_impressions import DAY, SLOTS, SmallWorld, config, small_world

ROWS = 600
TIMED = {"slots": {**SLOTS, "recent": {**SLOTS["recent"], "times": "recent_ts"}}}


@pytest.fixture
def world(tmp_path: Path) -> SmallWorld:
    world = small_world(tmp_path, ROWS)
    happened = [
        [int(ts) - 60 * 2**place for place in range(len(ids))]
        for ts, ids in zip(world.columns["ts"], world.columns["recent"], strict=True)
    ]
    return SmallWorld(world.root, world.export, {**world.columns, "recent_ts": happened})


def prepared(world: SmallWorld, **changes: Any) -> tuple[Summary, Records]:
    """All records of the files of the log."""
    log = ImpressionLog(config(counts=[["device"], ["user_id", "campaign"]], **changes), world.root)
    directory = world.root / f"prepared-{len(list(world.root.iterdir()))}"
    exports = {"base": Embeddings(world.export)}
    summary = prepare(log, Windows.of(log), exports, "key", directory, lambda text, done: None)
    splits = (Split.of(directory, name, summary) for name in SPLITS)
    return summary, np.concatenate([split.read(0, len(split)) for split in splits])


def codes(world: SmallWorld) -> np.ndarray:
    return np.array([int(campaign[1:]) for campaign in world.columns["campaign"]])


def nulls_of(values: np.ndarray, missing: np.ndarray) -> pa.Array:
    return pa.array(values.astype(np.float64), mask=missing)


def nans_of(values: np.ndarray, missing: np.ndarray) -> pa.Array:
    return pa.array(np.where(missing, np.nan, values))


def nans_in_dictionary(values: np.ndarray, missing: np.ndarray) -> pa.Array:
    return nans_of(values, missing).dictionary_encode()


@pytest.mark.parametrize("of", [nans_of, nans_in_dictionary])
def test_nan_is_no_category_no_id_and_no_value_to_count(world: SmallWorld, of: Callable[..., pa.Array]) -> None:
    """pandas writes NaN as null, others as NaN: a category, an id and a value that is counted were made of it."""
    values = codes(world)
    for column in ("device", "campaign"):
        world.write(**{column: nulls_of(values, values % 3 == 0)})
        _, expected = prepared(world)
        world.write(**{column: of(values, values % 3 == 0)})
        _, found = prepared(world)
        assert found.tobytes() == expected.tobytes() and (values % 3 == 0).any()


def test_minus_zero_is_zero(world: SmallWorld) -> None:
    values = codes(world) * 1.0
    assert (values == 0).sum() > 20
    found = []
    for zero in (0.0, -0.0):
        first = np.flatnonzero(values == 0)[::2]
        signed = values.copy()
        signed[first] = zero
        world.write(device=signed, campaign=signed)
        found.append(prepared(world)[1].tobytes())
    assert found[0] == found[1]


def test_a_column_of_null_lists_has_lists_of_no_length(world: SmallWorld) -> None:
    """Of a day on which nobody had a list, Arrow writes no type: the lists were none, and their lengths unknown."""
    world.write(recent=pa.nulls(ROWS, pa.list_(pa.string())), recent_ts=pa.nulls(ROWS, pa.list_(pa.int64())))
    _, expected = prepared(world, **TIMED)
    world.write(recent=pa.nulls(ROWS), recent_ts=pa.nulls(ROWS))
    _, found = prepared(world, **TIMED)
    assert found.tobytes() == expected.tobytes() and not np.isnan(found["numerics"][:, 2]).any()


@pytest.mark.parametrize("changes", [{}, {"where": "device <> 'ios'"}, {"on_bad_rows": "drop"}])
def test_views_of_text_are_text(world: SmallWorld, changes: dict[str, Any]) -> None:
    """As Polars writes it. Of views, Arrow cannot take some rows."""
    clicks = [None if row == 7 else int(click) for row, click in enumerate(world.columns["click"])]
    labels = {"click": pa.array(clicks, pa.int8())} if changes.get("on_bad_rows") else {}
    world.write(**labels)
    whole, expected = prepared(world, **changes)
    ids, lists = (pa.array(world.columns[name]) for name in ("user_id", "recent"))
    views = {"user_id": ids.cast(pa.string_view()), "recent": lists.cast(pa.list_(pa.string_view()))}
    world.write(**labels, **views, device=pa.array(world.columns["device"]).cast(pa.string_view()))
    summary, found = prepared(world, **changes)
    assert found.tobytes() == expected.tobytes() and summary.counts == whole.counts
    assert (len(found) < ROWS) == bool(changes)


def in_two_files(world: SmallWorld, first: dict[str, Any], second: dict[str, Any]) -> None:
    """The log in two halves, each with some columns replaced."""
    (world.root / "log" / "part-0.parquet").unlink()
    half = ROWS // 2
    for name, changes, rows in (("a", first, slice(0, half)), ("b", second, slice(half, ROWS))):
        table = pa.table({**world.columns, **changes})
        pq.write_table(table.slice(rows.start, half), world.root / "log" / f"{name}.parquet")


def test_a_day_of_empty_lists_and_one_without_rows_agree_with_any_other(world: SmallWorld) -> None:
    """pandas knows the type of neither."""
    world.write(
        recent=[[] if row < ROWS // 2 else ids for row, ids in enumerate(world.columns["recent"])],
        recent_ts=[[] if row < ROWS // 2 else times for row, times in enumerate(world.columns["recent_ts"])],
    )
    _, expected = prepared(world, **TIMED)
    empty = pa.array([[]] * ROWS, pa.list_(pa.null()))
    in_two_files(world, {"recent": empty, "recent_ts": empty}, {})
    pd.DataFrame({name: [] for name in world.columns}).to_parquet(world.root / "log" / "0.parquet")
    _, found = prepared(world, **TIMED)
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("listed", [False, True])
def test_integers_that_a_null_made_floats_of_have_a_way_out(world: SmallWorld, listed: bool) -> None:
    """pandas does so, and the ids 7.0 and 7 are two."""

    def column(rows: int, null: bool) -> Any:
        values = pd.Series([7] * (rows - null) + [None] * null)
        return values.map(lambda value: [value]) if listed else values

    of, name = ("a list of ", "recent") if listed else ("", "device")
    keeps = r'; pandas makes floats of integers beside nulls: .astype\("Int64"\) keeps them integers'
    in_two_files(world, {name: column(ROWS, False)}, {name: column(ROWS, True)})
    with pytest.raises(DataError, match=f"b.parquet: column '{name}' is {of}double, but {of}integer in .*{keeps}"):
        prepared(world)
    with pytest.raises(DataError, match=f"column {name} is {of}double, but {of}integer in training{keeps}"):
        block_of({name: column(3, True)}, lambda names: {name: f"{of}integer"})
    with pytest.raises(DataError, match=r'integer, but .*double in training; .astype\("float64"\) makes floats'):
        block_of({name: column(3, False)}, lambda names: {name: f"{of}double"})
    assert block_of({"device": pd.Series([7, None]).astype("Int64")}, lambda names: {"device": "integer"})


def seconds_of_day(world: SmallWorld) -> np.ndarray:
    return np.asarray(world.columns["ts"]) % DAY


def periods(world: SmallWorld) -> pa.Array:
    """Hours since 1970, as pandas keeps them: Arrow writes integers, and beside them what they are."""
    hours = pd.PeriodIndex(pd.to_datetime(world.columns["ts"], unit="s"), freq="h")
    return pa.Table.from_pandas(pd.DataFrame({"hours": hours}))["hours"].combine_chunks()


MEANINGLESS: dict[str, tuple[str, Callable[[SmallWorld], Any], str]] = {
    "a duration as time": (
        "ts",
        lambda world: pa.array(world.columns["ts"], pa.duration("ms")),
        r"column ts is duration\[ms\], expected times",
    ),
    "a time of day": (
        "ts",
        lambda world: pa.array(seconds_of_day(world), pa.time64("us")),
        r"column ts is time64\[us\], expected times",
    ),
    "a boolean as time": ("ts", lambda world: pa.array(codes(world) > 9), "column ts is bool, expected times"),
    "hours as time": ("ts", periods, r"column 'ts' is extension<pandas.period.*\(ranker.time_column\)"),
    "hours as number": ("age", periods, r"column 'age' is extension<pandas.period.*Arrow's own \(ranker.numerics\)"),
    "hours as category": ("device", periods, r"column 'device' is extension<pandas.period.*\(ranker.categoricals\)"),
    "lists as number": (
        "age",
        lambda world: [[0.5, 1.5]] * ROWS,
        r"column 'age' is a list of a number, expected numbers \(ranker.numerics\)",
    ),
}


@pytest.mark.parametrize("case", MEANINGLESS)
def test_what_means_something_else_is_refused(world: SmallWorld, case: str) -> None:
    """Each was read as the integers that lie below it, or as how long it is."""
    name, values, message = MEANINGLESS[case]
    world.write(**{name: values(world)})
    labels = {"click": "click"}
    with pytest.raises(DataError, match=f"part-0.parquet: {message}"):
        prepared(world, labels=labels)


def test_a_type_that_arrow_has_not_been_told_of_is_none_of_integers(world: SmallWorld) -> None:
    """Whether pandas has been imported says nothing about a log."""
    field = pa.field("age", pa.int64(), metadata={b"ARROW:extension:name": b"team.enum"})
    table = pa.table({**world.columns, "age": codes(world)})
    table = table.set_column(table.column_names.index("age"), field, table["age"])
    pq.write_table(table, world.root / "log" / "part-0.parquet")
    with pytest.raises(DataError, match=r"column 'age' is extension<team.enum.*expected a type of Arrow's own"):
        prepared(world)


@pytest.mark.parametrize("name", ["device", "campaign"])
def test_timestamps_as_text_are_of_one_unit(world: SmallWorld, name: str) -> None:
    """2026-01-01 00:00:00 and 2026-01-01 00:00:00.000 are one moment and two texts."""
    days = pa.array(np.asarray(world.columns["ts"]) // DAY * DAY).cast(pa.timestamp("s"))
    in_two_files(world, {name: days.cast(pa.timestamp("ms"))}, {name: days.cast(pa.timestamp("us"))})
    with pytest.raises(DataError, match=rf"b.parquet: column '{name}' is timestamp\[us\], but timestamp\[ms\] in"):
        prepared(world)
    rows = {name: days.cast(pa.timestamp("us"))}
    with pytest.raises(DataError, match=rf"column {name} is timestamp\[us\], but timestamp\[ms\] in training"):
        block_of(rows, lambda names: {name: "timestamp[ms]"})
    assert block_of({"ts": days}, lambda names: {"ts": "a timestamp"}), "as times, all units are alike"


def test_a_column_that_is_a_category_and_a_number_is_of_one_kind(world: SmallWorld) -> None:
    """true and 1 are one number and two categories."""
    late = np.asarray(world.columns["position"]) > 2
    in_two_files(world, {"position": late}, {"position": late.astype(np.int64)})
    with pytest.raises(DataError, match="column 'position' is integer, but bool in"):
        prepared(world, categoricals=["device", "position"])
    prepared(world)  # as a number alone, they are the same


def test_a_file_that_arrow_cannot_read_is_named(world: SmallWorld) -> None:
    lists = pa.array(world.columns["recent"])
    encoded = pa.ListArray.from_arrays(lists.offsets, lists.flatten().dictionary_encode())
    table = pa.table({**world.columns, "recent": encoded})
    pq.write_table(table, world.root / "log" / "part-0.parquet", row_group_size=100)
    with pytest.raises(DataError, match="part-0.parquet: cannot be read ") as caught:
        prepared(world)
    assert "\n" not in caught.value.lines[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"numerics": {"position": "linear", "recent": "log", "click": "linear"}},
        {"numerics": {"position": "linear", "recent": "log", "conversion_ts": "linear"}},
        {"categoricals": ["device", "conversion"]},
        {"slots": {**SLOTS, "click": {"side": "ad"}}},
        {"slots": {**SLOTS, "recent": {**SLOTS["recent"], "times": "conversion_ts"}}},
    ],
)
def test_a_label_is_not_read_as_a_feature(changes: dict[str, Any]) -> None:
    """A model that sees its label is the best of all."""
    whole = config().model_dump() | changes
    (problem,) = type(config())(**whole).problems()
    assert "is a label: it is not known when an ad is shown" in problem.message
    assert problem.path[0] in changes


def converted(world: SmallWorld, rows: np.ndarray, change: Callable[[int], int]) -> list[int | None]:
    """Times of conversions, of which those of some rows are changed."""
    known = world.columns["conversion_ts"].to_pylist()
    return [change(moment) if at in rows and moment is not None else moment for at, moment in enumerate(known)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t * 1000, "conversion_ts is not in 1970 to 2200; expected the unit of the impression's"),
        (lambda t: t // 1000, "conversion_ts is before 1990; expected the unit of the impression's"),
        (lambda t: 0, "conversion_ts is before 1990; expected the unit of the impression's"),
    ],
)
def test_a_conversion_at_a_time_that_cannot_be_is_a_bad_row(
    world: SmallWorld, change: Callable[[int], int], reason: str
) -> None:
    """Some files have another unit: their conversions were late, or early, and did not count."""
    rows = np.flatnonzero(world.columns["conversion"])[::20]
    world.write()
    _, whole = prepared(world)
    times = converted(world, rows, change)
    world.write(conversion_ts=pa.array(times, pa.int64()))
    with pytest.raises(DataError, match=rf"row {rows[0]}: {reason} \(ranker.labels.conversion_time\)"):
        prepared(world)
    summary, found = prepared(world, on_bad_rows="drop", max_bad_share=0.1)
    assert summary.mended == {f"rows dropped, as {reason}": len(rows)} and len(rows) > 3
    assert found["conversion"].tolist() == np.delete(whole["conversion"], rows).tolist()


def test_a_time_beside_no_conversion_says_nothing(world: SmallWorld) -> None:
    """A log may have a default there."""
    world.write()
    _, expected = prepared(world)
    times = [0 if moment is None else moment for moment in world.columns["conversion_ts"].to_pylist()]
    world.write(conversion_ts=times)
    _, found = prepared(world)
    assert found.tobytes() == expected.tobytes() and UNKNOWN not in found["conversion"]


@pytest.mark.parametrize("text", ["2026-02-07123", "20260207123", "2026-02-07x10:00"])
def test_a_moment_is_a_date_and_then_a_time(text: str) -> None:
    """To Python, each is a time of that day."""
    with pytest.raises(ValueError, match="is not a time; write an ISO date"):
        epoch_seconds(text)


@pytest.mark.parametrize("text", ["2026-02-07T10:00:00", "2026-02-07 10:00:00", "2026-02-07T12:00:00+02:00"])
def test_moments(text: str) -> None:
    assert epoch_seconds(text) == 1_770_458_400
