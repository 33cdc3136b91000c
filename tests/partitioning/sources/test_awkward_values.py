"""Values that a reasonable person writes and that DuckDB, pandas or Arrow would make something else of."""

import decimal
import gzip

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artifacts.errors import ConfigError, DataError
from tests.partitioning.test_errors import check, config, failure, relation
from tests.worlds.partitioning_reference import build, edges, read_edges

USERS = ["u0", "u1"]


def table(**columns) -> pa.Table:
    return pa.table({"user": USERS, "pin": ["p", "p"], **columns})


def untimed(path: str = "log.parquet", **source) -> dict:
    return {"log": {"path": path, **source}}


def users(tmp_path, sources: dict, **changes) -> list[str]:
    """Who has an edge."""
    build(config(sources=sources, relations=[relation(**changes)]), tmp_path, tmp_path / "graph")
    return sorted(edge[2] for edge in edges(tmp_path / "graph"))


MOMENTS = pa.array([1_704_448_800, 1_704_535_200], pa.timestamp("s"))  # 5 and 6 January 2024, 10 o'clock
CONSTANTS = {  # a column, a condition with a constant that it cannot hold, a part of the message
    "a fraction beside integers": (pa.array([2, 3]), "x <= '2.5'", "without quotes"),
    "one of a list": (pa.array([2, 3]), "x IN ('2', '2.5')", "without quotes"),
    "more digits than a decimal has": (pa.array([decimal.Decimal("2.5")] * 2), "x < '2.55'", "without quotes"),
    "a word": (pa.array([2, 3]), "x <> ''", "expected a value of that type"),
    "a time beside dates": (MOMENTS.cast(pa.date32()), "x < '2024-01-06 12:00'", "TIMESTAMPTZ '2024-01-06 12:00'"),
    "a zone beside none": (MOMENTS, "x < '2024-01-06T11:00:00+02:00'", "TIMESTAMPTZ '2024-01-06T11:00:00+02:00'"),
    "no time": (MOMENTS, "x BETWEEN 'monday' AND 'friday'", "expected a value of that type"),
}


@pytest.mark.parametrize("case", CONSTANTS)
def test_a_constant_that_a_cast_would_change_is_refused(tmp_path, case):
    column, where, message = CONSTANTS[case]
    pq.write_table(table(x=column), tmp_path / "log.parquet")
    error = failure(tmp_path, config(sources=untimed(), relations=[relation(where=where)]))
    check(error, ConfigError, "graph.relations[0].where: '", message)


@pytest.mark.parametrize(
    ("column", "where"),
    [
        (pa.array([2, 3]), "x <= '2'"),
        (pa.array([2.0, 2.75]), "x <= '2.5'"),
        (MOMENTS, "x < '2024-01-06T09:00:00Z'"),
        (MOMENTS, "x < TIMESTAMPTZ '2024-01-06T11:00:00+02:00'"),
        (MOMENTS.cast(pa.date32()), "x < '2024-01-06'"),
        (MOMENTS.cast(pa.timestamp("ns", "UTC")), "x < '2024-01-06T11:00:00+02:00'"),
        (pa.array([[1], [2]]), "'1' IN x"),
        (pa.array(["a", "b"]).dictionary_encode(), "x = 'a' OR x = 'not there'"),
    ],
)
def test_a_constant_that_says_the_same_is_one(tmp_path, column, where):
    pq.write_table(table(x=column), tmp_path / "log.parquet")
    assert users(tmp_path, untimed(), where=where) == ["u0"]


@pytest.mark.parametrize("where", ["isnan(x.w)", "x.w > 5", "isnan(x.l[1])"])
def test_nan_below_a_struct_is_found(tmp_path, where):
    structs = [{"w": 1.0, "l": [1.0]}, {"w": float("nan"), "l": [float("nan")]}]
    pq.write_table(table(x=pa.array(structs)), tmp_path / "log.parquet")
    assert users(tmp_path, untimed(), where=where) == ["u1"]


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_time_that_is_compared_keeps_its_fraction_or_is_refused(tmp_path, suffix):
    write = {"csv": "user,pin,ts\nu0,p,{}\nu1,p,{}\n"}
    content = write.get(suffix, '{{"user":"u0","pin":"p","ts":{}}}\n{{"user":"u1","pin":"p","ts":{}}}\n')
    timed = untimed(f"log.{suffix}", time_column="ts", time_unit="s")
    raw = config(sources=timed, relations=[relation(where="ts > 1700000000.5")])
    (tmp_path / f"log.{suffix}").write_text(content.format("1700000000.0", "1700000000.7"))
    check(failure(tmp_path, raw), DataError, f"log.{suffix}, row 1: column 'ts'", "expected an integer")
    (tmp_path / f"log.{suffix}").write_text(content.format(1_700_000_000, 1_700_000_001))
    (tmp_path / "graph").rmdir()
    assert users(tmp_path, timed, where="ts > 1700000000.5") == ["u1"]


EPOCHS = [
    ["99.7", "100"],
    ["99", "1970-01-01T00:01:40Z"],
    [99.7, 100.0],
    pa.array([decimal.Decimal("99.7"), decimal.Decimal("100")], pa.decimal128(9, 1)),
]


@pytest.mark.parametrize("moments", EPOCHS)
def test_epochs_in_parquet_may_be_text_or_have_fractions(tmp_path, moments):
    pq.write_table(table(ts=moments), tmp_path / "log.parquet")
    sources = untimed(time_column="ts", time_unit="s")
    raw = config(sources=sources, split={"time": {"valid_from": 100, "test_from": 101}})
    graph = build(raw, tmp_path, tmp_path / "graph")
    assert [graph.edges(split) for split in ("train", "valid")] == [1, 1]


def test_an_epoch_that_is_no_number_is_no_time(tmp_path):
    pq.write_table(table(ts=[99.7, float("nan")]), tmp_path / "log.parquet")
    raw = config(sources=untimed(time_column="ts", time_unit="s"))
    check(failure(tmp_path, raw), DataError, "log.parquet, row 2: column 'ts' has 'nan'; expected a number")


def test_a_key_is_an_epoch(tmp_path):
    for at, user in enumerate(USERS):
        (tmp_path / f"log/ts={99 + at}").mkdir(parents=True)
        pq.write_table(pa.table({"user": [user], "pin": ["p"]}), tmp_path / f"log/ts={99 + at}/part.parquet")
    sources = untimed("log", time_column="ts", time_unit="s")
    raw = config(sources=sources, split={"time": {"valid_from": 100, "test_from": 101}})
    graph = build(raw, tmp_path, tmp_path / "graph")
    assert [graph.edges(split) for split in ("train", "valid")] == [1, 1]


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_a_stored_column_and_its_key_are_one_in_where(tmp_path, suffix):
    path = tmp_path / f"log/x=1/part.{suffix}"
    path.parent.mkdir(parents=True)
    frame = pd.DataFrame({"user": USERS, "pin": ["p", "p"], "x": ["1", "1"]})
    if suffix == "csv":
        frame.to_csv(path, index=False)
    elif suffix == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_parquet(path)
    assert users(tmp_path, untimed("log"), where="x = '1'") == USERS


def test_files_without_rows_say_nothing_of_types(tmp_path):
    pq.write_table(table(), tmp_path / "a.parquet")
    pd.DataFrame({"user": [], "pin": []}).to_parquet(tmp_path / "b.parquet")
    pd.DataFrame([]).to_parquet(tmp_path / "c.parquet")
    assert users(tmp_path, untimed("*.parquet")) == USERS


def test_a_day_of_nulls_that_pandas_took_for_floats(tmp_path):
    pq.write_table(table(), tmp_path / "b.parquet")
    pd.DataFrame({"user": [float("nan")], "pin": ["q"]}).to_parquet(tmp_path / "a.parquet")
    assert users(tmp_path, untimed("*.parquet"), where="user IS NOT NULL") == USERS


def test_decimals_of_files_have_as_many_digits_as_all_need(tmp_path):
    pq.write_table(table(w=[decimal.Decimal("1.25")] * 2), tmp_path / "a.parquet")
    pq.write_table(table(w=[decimal.Decimal("100.5")] * 2), tmp_path / "b.parquet")
    raw = config(sources=untimed("*.parquet"), relations=[relation(weight="w")])
    build(raw, tmp_path, tmp_path / "graph")
    assert {weight for _, weight in read_edges(tmp_path / "graph")} == {101.75}


@pytest.mark.parametrize("compress", [gzip.compress, lambda raw: pa.compress(raw, "zstd", asbytes=True)])
def test_a_packed_log_of_nothing_is_a_quiet_day(tmp_path, compress):
    suffix = "gz" if compress is gzip.compress else "zst"
    (tmp_path / f"a.csv.{suffix}").write_bytes(compress(b""))
    (tmp_path / f"b.csv.{suffix}").write_bytes(compress(b"user,pin\nu0,p\nu1,p\n"))
    assert users(tmp_path, untimed("*.csv*"), allow_empty=True) == USERS


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_text_that_is_packed_without_saying_so(tmp_path, suffix):
    (tmp_path / f"log.{suffix}").write_bytes(gzip.compress(b"user,pin\nu0,p\n"))
    error = failure(tmp_path, config(sources=untimed(f"log.{suffix}")))
    check(error, DataError, f"log.{suffix}: is compressed", "a name that ends with .gz")


@pytest.mark.parametrize(
    ("changes", "row"),
    [
        ({"where": "CAST(x AS INTEGER) < 5"}, "row 2: graph.relations[0].where: "),
        ({"where": "user <> 'u0'", "weight": "CAST(x AS INTEGER)"}, "row 2: graph.relations[0].weight: "),
        ({"weight": "CAST(100 AS TINYINT) * CAST(length(x) AS TINYINT)"}, "row 2: graph.relations[0].weight: "),
    ],
)
def test_a_row_that_an_expression_has_no_value_for_is_named(tmp_path, changes, row):
    (tmp_path / "log.csv").write_text("user,pin,x\nu0,p,1\nu1,p,two\n")
    error = failure(tmp_path, config(sources=untimed("log.csv"), relations=[relation(**changes)]))
    check(error, DataError, f"log.csv, {row}", "expected a value for every row, or TRY_CAST")


@pytest.mark.parametrize("before", [0, 1, 5000])
def test_json_that_is_none_is_named_by_its_line(tmp_path, before):
    content = '{"user": "u0", "pin": "p"}\n' * before + '{"user": "u0"},\n'
    (tmp_path / "log.jsonl").write_text(content)
    error = failure(tmp_path, config(sources=untimed("log.jsonl")))
    check(error, DataError, f"log.jsonl, line {before + 1}: ", "expected one JSON object on each line")


def test_a_field_of_a_struct_is_no_column(tmp_path):
    pq.write_table(table(x=[{"id": "a"}, {"id": "b"}]), tmp_path / "log.parquet")
    raw = config(sources=untimed(), relations=[relation(rhs={"type": "pin", "column": "x.id"})])
    check(failure(tmp_path, raw), DataError, "log.parquet: source 'log' has no column 'x.id'", "known: pin, user, x")


def test_a_number_is_the_id_that_its_text_is(tmp_path):
    """Integers are joined as numbers, and text beside them as text: 7 and '7' are one id, '07' and '7.0' others."""
    texts = ["7", "07", " 7", "7.0", "+7", "-0", "0", str(-(2**63)), str(2**63 - 1), str(2**63)]
    pq.write_table(pa.table({"user": texts, "pin": ["t"] * len(texts)}), tmp_path / "text.parquet")
    numbers = [7, 0, -(2**63), 2**63 - 1, -1]
    pq.write_table(pa.table({"user": numbers, "pin": ["n"] * len(numbers)}), tmp_path / "number.parquet")
    pq.write_table(pa.table({"user": pa.array([7], pa.int8()), "pin": [7]}), tmp_path / "small.parquet")
    pq.write_table(
        pa.table({"user": pa.array([2**63, 7], pa.uint64()), "pin": ["u"] * 2}), tmp_path / "unsigned.parquet"
    )
    names = ["text", "number", "small", "unsigned"]
    sources = {name: {"path": f"{name}.parquet"} for name in names}
    graph = build(config(sources=sources, relations=[relation(source=names)]), tmp_path, tmp_path / "graph")
    expected = [*((text, "t") for text in texts), *((str(number), "n") for number in numbers)]
    expected += [("7", "7"), (str(2**63), "u"), ("7", "u")]
    assert sorted(edge[2:] for edge in edges(tmp_path / "graph")) == sorted(expected)
    assert sum(graph.entity_type("user").counts) == len({user for user, _ in expected})
