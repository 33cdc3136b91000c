"""`ranker.where`: the graph's language over the log, block by block; what it leaves out is not looked at."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artifacts.errors import ConfigError, DataError, TransraError
from ranker import check_where
from ranker.data.ids.exports import Export, open_exports
from ranker.data.log.forgotten import Forgotten
from ranker.data.log.impression_log import ImpressionLog
from ranker.data.log.windows import Windows
from ranker.data.prepare import prepare
from ranker.data.records import SPLITS, Split, Summary
from ranker.evaluation.report import rows_line
from ranker.experiment.reuse import log_identity
from tests.worlds.small_impressions import START, SmallWorld, config, small_world


@pytest.fixture
def world(tmp_path: Path) -> SmallWorld:
    return small_world(tmp_path, rows=1500)


def left(world: SmallWorld, where: str, frame: Any = None, **changes: Any) -> list[int]:
    """The times of the rows that are left; those of the world are distinct enough to tell its rows."""
    log = ImpressionLog(config(where=where, **changes), world.root, frame)
    times = [time for block in log.blocks(["ts"]) for time in log.times(block).tolist()]
    assert log.left_out == log.rows - len(times)
    return times


def prepared(world: SmallWorld, name: str, forgotten: Forgotten | None = None, **changes: Any) -> tuple[Summary, dict]:
    exports = open_exports({"base": Export(world.export, START - 1)}, config(**changes))
    log = ImpressionLog(config(**changes), world.root, None, forgotten)
    summary = prepare(log, Windows.of(log), exports, "key", world.root / name, lambda text, done: None)
    splits = {split: Split.of(world.root / name, split, summary) for split in SPLITS}
    return summary, {split: one.read(0, len(one)).tobytes() for split, one in splits.items()}


CONDITIONS = {
    "n > {0}": lambda t, c: t.n > c,
    "n IS NULL OR n <= {0}": lambda t, c: t.n.isna() | (t.n <= c),
    "NOT (x >= {0})": lambda t, c: ~(t.x >= c),
    "x BETWEEN 0 AND {0} AND word <> 'b'": lambda t, c: (t.x >= 0) & (t.x <= c) & (t.word != "b").astype("boolean"),
    "word IN ('a', 'c') AND n % 2 = 0": lambda t, c: t.word.isin(["a", "c"]).astype("boolean") & (t.n % 2 == 0),
    "CASE WHEN word = 'a' THEN n > {0} ELSE flag END": lambda t, c: t.flag.mask((t.word == "a").fillna(False), t.n > c),
    "coalesce(n, 0) + x > {0}": lambda t, c: t.n.fillna(0) + t.x > c,
    "flag": lambda t, c: t.flag,
}  # NULL as pandas' NA: neither true nor false
ROWS = st.fixed_dictionaries(
    {
        "n": st.none() | st.integers(-5, 5),
        "x": st.none() | st.integers(-20, 20).map(lambda quarters: quarters / 4),
        "word": st.none() | st.sampled_from(["a", "b", "c", ""]),
        "flag": st.none() | st.booleans(),
    }
)
SCHEMA = pa.schema([("n", pa.int64()), ("x", pa.float64()), ("word", pa.string()), ("flag", pa.bool_())])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(ROWS, min_size=1, max_size=40), where=st.sampled_from(sorted(CONDITIONS)), bound=st.integers(-4, 4)
)
def test_what_is_left_is_what_pandas_would_leave(world, monkeypatch, rows, where, bound):
    """Also where a block is 7 rows; NULL is not true."""
    monkeypatch.setattr("ranker.data.log.impression_log.BLOCK_ROWS", 7)
    more = pa.Table.from_pylist(rows, SCHEMA)
    frame = pa.table({name: pa.array(values)[: len(rows)] for name, values in world.columns.items()})
    times = pa.array(START + np.arange(len(rows)))
    for field in SCHEMA:
        frame = frame.append_column(field.name, more[field.name])
    frame = frame.set_column(frame.column_names.index("ts"), "ts", times)
    table = pd.DataFrame(rows).astype({"n": "Float64", "x": "Float64", "word": "string", "flag": "boolean"})
    expected = CONDITIONS[where](table, bound).fillna(False).to_numpy(bool)
    assert left(world, where.format(bound), frame) == times.to_numpy()[expected].tolist()


def test_records_are_those_of_a_log_without_the_rows(world: SmallWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left out may hold what would be refused otherwise, and is not bad, forgotten or joined either."""
    monkeypatch.setattr("ranker.data.log.impression_log.BLOCK_ROWS", 37)
    kept = np.asarray(world.columns["position"]) > 2
    spoilt = {name: pa.array(values).to_pylist() for name, values in world.columns.items()}
    out = np.flatnonzero(~kept)
    spoilt["click"][out[0]], spoilt["ts"][out[1]], spoilt["conversion"][out[2]] = 7, None, 9
    spoilt["recent"][out[3]], spoilt["ts"][out[4]] = ["p1"] * 50, -5
    world.write(**spoilt, surface=np.where(kept, "feed", "search").tolist())
    forgotten, where = Forgotten.of({"user": ["u3", "u5"]}), "surface = 'feed' AND position > 2"
    summary, found = prepared(world, "where", forgotten, where=where)
    assert summary.left_out == len(out) > 100
    world.write(**{name: pa.array(values).filter(pa.array(kept)) for name, values in world.columns.items()})
    plain, expected = prepared(world, "without", forgotten)
    assert found == expected and all(found.values())
    assert (summary.counts, summary.mended, summary.windows) == (plain.counts, plain.mended, plain.windows)
    assert plain.left_out == 0


def test_what_is_left_out_is_no_bad_row(world: SmallWorld) -> None:
    click = [
        None if position == 1 else click
        for position, click in zip(world.columns["position"], world.columns["click"], strict=True)
    ]
    click[int(np.flatnonzero(np.asarray(world.columns["position"]) == 2)[0])] = 5
    world.write(click=click)
    summary, _ = prepared(world, "made", where="position > 1", on_bad_rows="drop", max_bad_share=0.001)
    assert summary.left_out == click.count(None)
    assert summary.mended == {"rows dropped, as click is neither 0 nor 1": 1}


def test_rows_keep_their_numbers(world: SmallWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ranker.data.log.impression_log.BLOCK_ROWS", 100)
    click = world.columns["click"].astype(int)
    click[777] = 7
    world.write(click=click, position=np.where(np.arange(1500) % 7 == 0, 3, 1))
    with pytest.raises(DataError, match="part-0.parquet: row 777: click is 7"):
        prepared(world, "made", where="position = 3")
    device = [f"{row}" for row in range(1500)]
    device[801] = "web"
    world.write(device=device)
    log = ImpressionLog(config(where="CAST(device AS INTEGER) >= 0"), world.root)
    with pytest.raises(DataError, match=r"part-0.parquet: row 801: ranker.where: .*expected a value .*TRY_CAST"):
        list(log.blocks())


REFUSED = {
    "clock": ("to_timestamp(ts) < now()", "'now' depends on more than the row"),
    "chance": ("random() < 0.5", "'random' depends on more than the row"),
    "file": ("(SELECT content FROM read_text('/etc/passwd')) IS NOT NULL", "'subquery' depends on more than the row"),
    "subquery": ("click IN (SELECT 1)", "'subquery' depends on more than the row"),
    "aggregate": ("count(*) > 1", "depends on more than the row"),
    "statement": ("true); COPY (SELECT 42) TO 'x'; SELECT (true", "expected one SQL expression over"),
    "nothing": ("", "ranker.where: "),
    "syntax": ("click = = 1", "syntax error"),
    "column": ("positon > 1", "has no column 'positon', did you mean 'position'?"),
    "function": ("loewr(device) = 'web'", "unknown function 'loewr', did you mean 'lower'?"),
    "text and number": ("device > 5", "column 'device' of 'impressions' is text, compared with INTEGER; write CAST"),
    "text as a condition": ("device", "used as a condition"),
    "no condition": ("to_timestamp(ts)", "expected a condition, true or false"),
    "constant": ("position > '2.5'", "'2.5' stands beside BIGINT; write the number without quotes"),
    "pattern": ("regexp_matches(device, '(')", "missing )"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_condition_on_a_row(world: SmallWorld, case: str) -> None:
    where, message = REFUSED[case]
    for look in (lambda c: check_where(c, world.root, False), lambda c: ImpressionLog(c, world.root)):
        with pytest.raises(ConfigError) as caught:
            look(config(where=where))
        (line,) = caught.value.lines
        assert line.startswith("ranker.where: ") and message in line and "\n" not in line


def test_pseudonyms_leave_no_ids_to_ask_for(world: SmallWorld) -> None:
    with pytest.raises(ConfigError, match="ranker.where: column 'user_id' holds ids, of which graph.ids leaves"):
        ImpressionLog(config(where="user_id <> 'u3'"), world.root, id_key=b"key")
    with pytest.raises(ConfigError, match="column 'user_id' holds ids"):
        check_where(config(where="user_id <> 'u3'"), world.root, pseudonyms=True)
    ImpressionLog(config(where="campaign <> 'c3'"), world.root, id_key=b"key")  # the graph knows none of these


def test_a_log_that_cannot_be_read_is_not_the_conditions_fault(world: SmallWorld) -> None:
    (note,) = check_where(config(where="a = 1", impressions="later"), world.root, False)
    assert note.startswith("ranker.where, whose columns come from the log (") and "no Parquet files" in note
    assert check_where(config(where="position = 1"), world.root, False) == []


def test_where_nothing_is_left(world: SmallWorld) -> None:
    for where in ("false", "NULL", "position > 99"):
        log = ImpressionLog(config(where=where), world.root)
        with pytest.raises(DataError, match=r"^ranker.where: 1,500 of 1,500 rows left out, and no impression is left$"):
            Windows.of(log)


def two_files(world: SmallWorld, one: pa.Array, other: pa.Array) -> None:
    for path in (world.root / "log").iterdir():
        path.unlink()
    table, middle = pa.table(world.columns), 750
    first, second = table.slice(0, middle), table.slice(middle)
    pq.write_table(first.append_column("v", one[: len(first)]), world.root / "log" / "a.parquet")
    pq.write_table(second.append_column("v", other[: len(second)]), world.root / "log" / "b.parquet")


def test_one_meaning_for_all_files(world: SmallWorld) -> None:
    """Values are brought to the type of all files first: by itself, 7 as text would be another than 7.0."""
    ints, texts = pa.array([7] * 750), pa.array(["7"] * 750)
    times = world.columns["ts"].tolist()
    for other in (pa.array([7.0] * 750), pa.array([7] * 750, pa.int8()), pa.array([7] * 750, pa.uint64())):
        two_files(world, ints, other)
        assert left(world, "CAST(v AS VARCHAR) LIKE '7%' AND v = 7") == times
        lengths = {len(left(world, f"CAST(v AS VARCHAR) = '{text}'")) for text in ("7", "7.0")}
        assert lengths == {0, 1500}
    two_files(world, pa.array([Decimal("7.0")] * 750), pa.array([Decimal("7.25")] * 750))
    assert left(world, "v = 7.25") == times[750:]
    two_files(world, pa.nulls(750), ints)
    assert left(world, "v = 7") == times[750:]
    two_files(world, texts.dictionary_encode(), texts)
    assert left(world, "v = '7'") == times
    two_files(world, ints, texts)
    refused(
        world, "v = 7", DataError, "b.parquet: column 'v' is VARCHAR, but BIGINT in .*a.parquet; the files of ranker."
    )
    pq.write_table(pa.table(world.columns), world.root / "log" / "c.parquet")
    two_files(world, ints, ints)
    pq.write_table(pa.table(world.columns), world.root / "log" / "c.parquet")
    refused(world, "v = 7", DataError, r"c.parquet: no column 'v' \(ranker.where\)")


def refused(world: SmallWorld, where: str, kind: type[TransraError], message: str) -> None:
    with pytest.raises(kind, match=message):
        ImpressionLog(config(where=where), world.root)


def test_names_of_directories_are_columns(world: SmallWorld) -> None:
    for surface in ("feed", "search"):
        (world.root / "hive" / f"surface={surface}").mkdir(parents=True)
        pq.write_table(pa.table(world.columns), world.root / "hive" / f"surface={surface}" / "x.parquet")
    assert left(world, "SURFACE = 'feed'", impressions="hive") == world.columns["ts"].tolist()


def test_another_condition_is_another_log(world: SmallWorld) -> None:
    def identity(frame: pa.Table, where: str | None) -> str:
        settings = config(where=where)
        return log_identity(settings, ImpressionLog(settings, world.root, frame))

    frame = pa.table({**world.columns, "v": [1] * 1500})
    other = frame.set_column(frame.column_names.index("v"), "v", [[2] * 1500])
    assert len({identity(frame, where) for where in (None, "v = 1", "v > 0")}) == 3
    assert identity(frame, "v = 1") != identity(other, "v = 1")
    assert identity(frame, None) == identity(other, None)


def test_the_table_says_how_many_rows_there_are() -> None:
    rows = {"train": {"rows": 2100}, "valid": {"rows": 3}, "test": {"rows": 4}}
    assert rows_line({"rows": rows, "rows_left_out": 0}) == "impressions: train 2,100, valid 3, test 4"
    assert rows_line({"rows": rows, "rows_left_out": 1500}).endswith("test 4; 1,500 rows left out by ranker.where")
