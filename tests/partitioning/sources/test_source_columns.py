"""Files of a source: each is read once, whatever its name; only the columns that the config uses must agree."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artifacts.errors import ConfigError, DataError
from tests.partitioning.test_errors import PIN, USER, check, config, failure, problems, relation
from tests.worlds.partitioning_reference import build, edges

DAY = {"type": "day", "column": "day"}
FORMATS = ("parquet", "csv", "jsonl")


def write(path: Path, **columns: list) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if path.suffix in (".parquet", ".pq"):
        pq.write_table(pa.table(columns), path)
    elif path.suffix == ".csv":
        pd.DataFrame(columns).to_csv(path, index=False)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def clicks(root: Path, path, **changes) -> list[tuple[str, str]]:
    """The ends of the edges of `click` over files; `changes` are the relation's."""
    build(config(sources={"log": {"path": path}}, relations=[relation(**changes)]), root, root / "graph")
    return sorted(edge[2:] for edge in edges(root / "graph"))


def by_day(source: dict, **changes) -> dict:
    """A relation of users and days, beside the day as the time of the event."""
    entities = {"user": {}, "day": {}}
    return config(sources={"log": source}, entities=entities, relations=[relation(rhs=DAY, **changes)])


def days(root: Path, source: dict, **changes) -> list[tuple[str, str]]:
    build(by_day(source, **changes), root, root / "graph")
    return sorted(edge[2:] for edge in edges(root / "graph"))


names = st.text("ab[]*?!-'{} ", min_size=1, max_size=5).map(lambda name: f"x{name}")


@pytest.mark.parametrize("suffix", FORMATS)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stems=st.sets(names | st.sampled_from(["x[1]", "x1", "x?", "x*", "x**"]), min_size=2, max_size=6))
def test_every_file_is_read_once_whatever_its_name(tmp_path_factory, suffix, stems):
    root = tmp_path_factory.mktemp("names") / "prod [v1]"
    for at, stem in enumerate(sorted(stems)):
        write(root / f"log/{stem}.{suffix}", user=[at], pin=["p"])
    assert clicks(root, "log") == sorted((str(at), "p") for at in range(len(stems)))


@pytest.mark.parametrize("suffix", FORMATS)
def test_keys_below_the_base_are_ids_as_text(tmp_path, suffix):
    root = tmp_path / "day=never"
    write(root / f"log/day=07/user=007/a.{suffix}", pin=["a"])
    write(root / f"log/day=08/user=7/a.{suffix}", pin=["a"])
    write(root / f"log/odd=x/day=09/b.{suffix}", user=["8"], pin=["b"])
    write(root / f"log/c.{suffix}", user=["9"], pin=["c"], day=["10"])
    assert days(root, {"path": "log"}) == [("007", "07"), ("7", "08"), ("8", "09"), ("9", "10")]


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_key_is_a_time(tmp_path, suffix):
    for day in ("2026-01-01", "2026-01-02"):
        write(tmp_path / f"log/day={day}/x.{suffix}", user=["1"], pin=[day])
    split = {"time": {"valid_from": "2026-01-02", "test_from": "2026-01-03"}}
    build(config(sources={"log": {"path": "log", "time_column": "day"}}, split=split), tmp_path, tmp_path / "graph")
    assert edges(tmp_path / "graph") == [("train", "click", "1", "2026-01-01"), ("valid", "click", "1", "2026-01-02")]


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_stored_column_and_its_key_agree_or_are_refused(tmp_path, suffix):
    write(tmp_path / f"log/day=07/x.{suffix}", user=["1"], day=["07"])
    assert days(tmp_path, {"path": "log"}) == [("1", "07")]
    write(tmp_path / f"log/day=08/x.{suffix}", user=["1", "2"], day=["08", "07"])
    (tmp_path / "again").mkdir()
    (tmp_path / "again/log").symlink_to(tmp_path / "log")
    error = failure(tmp_path / "again", by_day({"path": "log"}))
    check(error, DataError, f"day=08/x.{suffix}, row 2: column 'day' has '07', but its directory says day=08")


def test_a_stored_number_and_its_key(tmp_path):
    write(tmp_path / "log/day=07/x.parquet", user=[1], day=[7])
    assert days(tmp_path, {"path": "log"}) == [("1", "7")]


def test_keys_above_the_base_leave_columns_alone(tmp_path):
    root = tmp_path / "user=evil"
    write(root / "log/x.parquet", user=[1], pin=["a"])
    assert clicks(root, "log/*.parquet") == [("1", "a")]
    write(root / "day=1/x.parquet", user=[1], pin=["a"])
    error = failure(root.parent, by_day({"path": "user=evil/day=1/*.parquet"}))
    check(error, DataError, "x.parquet: source 'log' has no column 'day'")


def test_columns_that_nothing_uses_may_change(tmp_path):
    pq.write_table(pa.table({"user": [1], "pin": ["a"], "x": [1], "y": [1.5]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"pin": ["b"], "x": ["one"], "user": [2], "z": [[1]]}), tmp_path / "2.parquet")
    pq.write_table(pa.table({"user": [3], "pin": ["c"], "x": pa.nulls(1)}), tmp_path / "3.parquet")
    assert clicks(tmp_path, "*.parquet") == [("1", "a"), ("2", "b"), ("3", "c")]


@pytest.mark.parametrize("order", ["12", "21"])
def test_a_day_of_nulls_in_a_used_column(tmp_path, order):
    pq.write_table(pa.table({"user": [1], "pin": ["a"], "kind": ["x"]}), tmp_path / f"{order[0]}.parquet")
    nulls = pa.table({"user": [2], "pin": pa.nulls(1), "kind": pa.nulls(1)})
    pq.write_table(nulls, tmp_path / f"{order[1]}.parquet")
    assert clicks(tmp_path, "*.parquet", where="pin IS NOT NULL AND lower(kind) = 'x'") == [("1", "a")]


def test_numbers_are_widened(tmp_path):
    pq.write_table(pa.table({"user": pa.array([1], pa.int32()), "pin": ["a"], "price": [3]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"user": [2], "pin": ["b"], "price": [2.75]}), tmp_path / "2.parquet")
    assert clicks(tmp_path, "*.parquet", where="price > 2.5 AND price < 2.9") == [("2", "b")]


@pytest.mark.parametrize("other", [["7"], [7.5], [True]])
def test_a_used_column_of_two_types_is_refused(tmp_path, other):
    write(tmp_path / "1.parquet", user=[7], pin=["a"])
    write(tmp_path / "2.parquet", user=other, pin=["a"])
    check(failure(tmp_path, config(sources={"log": {"path": "*.parquet"}})), DataError, "2.parquet: column 'user' is")


@pytest.mark.parametrize("name", ["file", "row", "filename", "row_in_file", "file_index", "file_row_number", "rowid"])
@pytest.mark.parametrize("suffix", FORMATS)
def test_no_name_of_a_column_breaks_a_message(tmp_path, name, suffix):
    user = {**USER, "column": name}
    write(tmp_path / f"log.{suffix}", **{name: ["1", "2"], "pin": ["a", None]})
    raw = config(sources={"log": {"path": f"log.{suffix}"}}, relations=[relation(lhs=user)])
    row = "" if name == "file_row_number" and suffix == "parquet" else ", row 2"
    check(failure(tmp_path, raw), DataError, f"log.{suffix}{row}: no value in column 'pin'")
    shutil.rmtree(tmp_path / "graph")
    raw["relations"][0]["where"] = "pin IS NOT NULL"
    build(raw, tmp_path, tmp_path / "graph")
    assert edges(tmp_path / "graph") == [("train", "click", "1", "a")]


def test_columns_that_sql_does_not_tell_apart(tmp_path):
    write(tmp_path / "a.parquet", user=[1], User=[2], pin=["a"])
    (tmp_path / "b.csv").write_text("user,pin,user\n1,a,2\n")
    for path in ("a.parquet", "b.csv"):
        error = failure(tmp_path, config(sources={"log": {"path": path}}))
        check(error, DataError, path, "which SQL does not tell apart")
        shutil.rmtree(tmp_path / "graph")
    (tmp_path / "c.csv").write_text("user,pin,x,x\n1,a,2,3\n")
    assert clicks(tmp_path, "c.csv") == [("1", "a")]


def test_ids_and_times_of_nanoseconds(tmp_path):
    """What pandas wrote for years: datetime64[ns, UTC] as TIMESTAMP with nanoseconds."""
    ts = (
        pd.to_datetime(["2026-01-01 23:59:59.999999999", "2026-01-02 00:00:00.000000000"])
        .tz_localize("UTC")
        .astype("datetime64[ns, UTC]")
    )
    for name, column in (("zone", ts), ("plain", ts.tz_localize(None))):
        frame = pd.DataFrame({"user": [1, 2], "pin": ["a", "b"], "ts": column})
        frame.to_parquet(tmp_path / f"{name}.parquet")
        assert "nanoseconds" in str(pq.read_metadata(tmp_path / f"{name}.parquet").schema)
    split = {"time": {"valid_from": "2026-01-02", "test_from": "2026-01-03"}}
    for path in ("zone.parquet", "plain.parquet", "*.parquet"):
        graph = tmp_path / f"graph {path[0]}"
        build(config(sources={"log": {"path": path, "time_column": "ts"}}, split=split), tmp_path, graph)
        assert {edge[0] + edge[2] for edge in edges(graph)} == {"train1", "valid2"}


def test_nan_is_found_whatever_a_row_groups_statistics_say(tmp_path):
    """DuckDB 2.0.0 prunes by statistics, which leave NaN out."""
    table = pa.table({"user": [1, 2, 3], "pin": ["a", "b", "c"], "w": [1.0, float("nan"), 3.0]})
    pq.write_table(table, tmp_path / "log.parquet")
    pq.write_table(
        table.cast(pa.schema([("user", "int64"), ("pin", "string"), ("w", "float")])), tmp_path / "f.parquet"
    )
    for path in ("log.parquet", "f.parquet"):
        raw = config(sources={"log": {"path": path}}, relations=[relation(weight="w")])
        check(failure(tmp_path, raw), DataError, f"{path}, row 2: graph.relations[0].weight is nan")
        shutil.rmtree(tmp_path / "graph")
    assert clicks(tmp_path, "log.parquet", where="isnan(w)") == [("2", "b")]


def test_relation_names_from_data(tmp_path):
    for wrong in ("", "a\0b", "a\nb", "\x1b[31m"):
        write(tmp_path / "log.parquet", user=[1, 2], pin=["a", "b"], kind=["x", wrong])
        error = failure(
            tmp_path,
            config(
                sources={"log": {"path": "log.parquet"}},
                relations=[relation(name=None, relation_column="kind", lhs=USER, rhs=PIN)],
            ),
        )
        check(error, DataError, "log.parquet, row 2: column 'kind' has", repr(wrong), "without control characters")
        shutil.rmtree(tmp_path / "graph")


@pytest.mark.parametrize("key", ["name", "inverse"])
def test_relation_names_of_the_config(key):
    found = problems(config(relations=[relation(**{key: "a\0b"})]))
    assert found == [(("relations", 0, key), r"'a\x00b': expected a name without control characters")]


def test_types_belong_to_text(tmp_path):
    write(tmp_path / "log.parquet", user=[1], pin=["a"])
    raw = config(sources={"log": {"path": "log.parquet", "types": {"user": "BIGINT"}}})
    check(failure(tmp_path, raw), ConfigError, "graph.sources.log.types: a Parquet source has its own types")
