"""CSV, TSV and JSON lines: nothing is guessed from a sample, and what does not fit is named with file and line."""

import csv
import gzip
import io
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artifacts.errors import DataError
from partitioning import GraphConfig, build_graph
from tests.partitioning.test_errors import config, failure, problems, relation
from tests.worlds.partitioning_reference import build, edges

TYPES = {"price": "DOUBLE", "count": "BIGINT", "yes": "BOOLEAN", "moment": "TIMESTAMP", "day": "DATE"}


def source(path: str, **changes) -> dict:
    return {"log": {"path": path, **changes}}


def clicks(root: Path, name: str, content: str | bytes, changes: dict | None = None, **of_relation) -> list:
    """The ends of the edges over one file; `changes` are the source's."""
    (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    raw = config(sources=source(name, **(changes or {})), relations=[relation(**of_relation)])
    build(raw, root, root / "graph")
    return sorted(edge[2:] for edge in edges(root / "graph"))


def refused(root: Path, name: str, content: str | bytes, changes: dict | None = None, **of_relation) -> str:
    (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    shutil.rmtree(root / "graph", ignore_errors=True)
    error = failure(root, config(sources=source(name, **(changes or {})), relations=[relation(**of_relation)]))
    shutil.rmtree(root / "graph")
    assert len(str(error)) < 300 + len(str(root)), error
    return f"{type(error).__name__}: {error}"


def test_text_stays_text(tmp_path):
    rows = [("007", "1.10"), ("7", "Yes"), ("1e3", "NULL"), (" 5 ", "2026-01-01")]
    content = "user,pin\n" + "".join(f"{user},{pin}\n" for user, pin in rows)
    assert clicks(tmp_path, "log.csv", content) == sorted(rows)


def test_what_comes_after_any_sample_is_what_it_is(tmp_path):
    lines = [f"u{at},p,2" for at in range(21_000)] + ["last,p,2.75", "other,p,3"]
    content = "user,pin,price\n" + "\n".join(lines) + "\n"
    found = clicks(tmp_path, "log.csv", content, {"types": {"price": "DOUBLE"}}, where="price > 2.5 AND price < 2.9")
    assert found == [("last", "p")]
    told = refused(tmp_path, "log.csv", content, {"types": {"price": "BIGINT"}}, where="price > 2")
    assert "log.csv, row 21001: column 'price' has '2.75'; expected an integer" in told


@pytest.mark.parametrize(
    ("column", "values", "wrong"),
    [
        ("price", ["2.75", "1e3", "-1"], ["x", "nan", "inf", "1,5", "1_0"]),
        ("count", ["2", "-3", "+4"], ["2.75", "1e3", "0x10", "1_000", "9223372036854775808"]),
        ("yes", ["true", "false"], ["maybe", "2"]),
        ("moment", ["2026-01-01", "2026-01-01T01:00:00+02:00"], ["soon", "2026-13-01"]),
        ("day", ["2026-01-01"], ["2026-01-01 12:00", "01.02.2026"]),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_declared_types(tmp_path, column, values, wrong, suffix):
    def content(values: list[str]) -> str:
        if suffix == "csv":
            return f"user,pin,{column}\n" + "".join(f'{at},p,"{value}"\n' for at, value in enumerate(values))
        return "".join(json.dumps({"user": at, "pin": "p", column: v}) + "\n" for at, v in enumerate(values))

    kinds = {"types": {column: TYPES[column]}}
    where = f"{column} IS NOT NULL"
    assert len(clicks(tmp_path, f"log.{suffix}", content(values), kinds, where=where)) == len(values)
    for value in wrong:
        told = refused(tmp_path, f"log.{suffix}", content([values[0], value]), kinds, where=where)
        assert f"log.{suffix}, row 2: column '{column}' has '{value}'; expected " in told


def test_a_time_of_another_zone_is_that_time(tmp_path):
    content = "user,pin,moment\n1,p,2026-01-01T01:00:00+02:00\n2,p,2026-01-01T00:30:00\n"
    where = "moment < TIMESTAMP '2026-01-01 00:00:00'"
    assert clicks(tmp_path, "log.csv", content, {"types": {"moment": "TIMESTAMP"}}, where=where) == [("1", "p")]


@pytest.mark.parametrize(
    ("expression", "way_out"),
    [
        ({"where": "price > 5"}, '{ price: "DOUBLE" }'),
        ({"where": "5 < Price"}, '{ Price: "DOUBLE" }'),
        ({"where": "price BETWEEN 1 AND 2"}, '{ price: "DOUBLE" }'),
        ({"where": "price IN (1, 2)"}, '{ price: "DOUBLE" }'),
        ({"where": "user = '1' AND NOT (price > 5 OR pin = 'x')"}, '{ price: "DOUBLE" }'),
        ({"where": "coalesce(price, 0) > 1"}, '{ price: "DOUBLE" }'),
        ({"where": "CASE WHEN price = 1 THEN true ELSE false END"}, '{ price: "DOUBLE" }'),
        ({"where": "price + 1 > 2"}, '{ price: "DOUBLE" }'),
        ({"where": "price = (user = '1')"}, '{ price: "BOOLEAN" }'),
        ({"where": "price > DATE '2026-01-01'"}, '{ price: "DATE" }'),
        ({"where": "price"}, '{ price: "BOOLEAN" }'),
        ({"where": "NOT price"}, '{ price: "BOOLEAN" }'),
        ({"where": "price IS TRUE"}, '{ price: "BOOLEAN" }'),
        ({"where": "pin = 'x' AND price"}, '{ price: "BOOLEAN" }'),
        ({"weight": "price"}, '{ price: "DOUBLE" }'),
        ({"weight": "1 + price / 60"}, '{ price: "DOUBLE" }'),
        ({"weight": "greatest(price, 1)"}, '{ price: "DOUBLE" }'),
    ],
)
def test_text_beside_numbers_is_a_mistake_of_the_config(tmp_path, expression, way_out):
    told = refused(tmp_path, "log.csv", "user,pin,price\n1,p,12\n", **expression)
    assert told.startswith("ConfigError: graph.relations[0].") and f"graph.sources.log.types: {way_out}" in told


AS_TEXT = ["price = '5'", "price IN ('5', '6')", "price LIKE '5%'", "CAST(price AS INT) = 5", "price || pin = '5p'"]


@pytest.mark.parametrize("where", AS_TEXT)
def test_text_as_text(tmp_path, where):
    assert clicks(tmp_path, "log.csv", "user,pin,price\n1,p,5\n", where=where) == [("1", "p")]


LINES = {
    "short lines first": ("user,pin,x\n" + "1,p\n" * 5000 + "1,p,x\n" * 2000, "line 2: has 2 fields; expected 3"),
    "a short line": ("user,pin,x\n1,p,x\n1,p\n", "line 3: has 2 fields; expected 3"),
    "a long line": ("user,pin\n1,p\n1,p,x\n", "line 3: has 3 fields; expected 2"),
    "an empty field too many": ("user,pin\n1,p\n1,p,\n", "line 3: has 3 fields; expected 2"),
    "two empty fields for one": ("user,pin\n1,p\n1,,\n", "line 3: has 3 fields; expected 2"),
    "a quoted empty field too many": ('user,pin\n1,p\n1,p,""\n', "line 3: has 3 fields; expected 2"),
    "an empty field too many, CRLF": ("user,pin\r\n1,p\r\n1,p,\r\n2,q\r\n", "line 3: has 3 fields; expected 2"),
    "an open quote": ('user,pin\n1,"p\n', "line 2: a quote that is not closed"),
    "text after a quote": ('user,pin\n1,"p"x\n', "line 2: a quote that is not closed"),
    "ends of lines that change": (b"user,pin\n1,p\r\n2,p\n", "ends of lines that change"),
    "Latin-1": ("user,pin\n1,M\xfcller\n".encode("latin-1"), "line 2: is not UTF-8 text"),
    "Latin-1, late": (b"user,pin\n" + b"1,p\n" * 300_000 + b"1,M\xfcller\n", "line 300002: is not UTF-8 text"),
    "semicolons": ("user;pin\n1;p\n", "line 1: seems to be separated by ';'; expected a csv with commas"),
    "tabs": ("user\tpin\n1\tp\n", "line 1: seems to be separated by '\\t'; expected a csv with commas"),
    "UTF-16": ("user,pin\n1,p\n".encode("utf-16"), "is UTF-16 or UTF-32; expected UTF-8"),
    "UTF-16 without a mark": ("user,pin\n1,p\n".encode("utf-16-le"), "is UTF-16 or UTF-32; expected UTF-8"),
    "an empty first line": ("\n\n", "is empty; expected a header"),
    "a huge line": ("user,pin\n1," + "p" * 3_000_000 + "\n", "a line of more than 2 MB"),
}


@pytest.mark.parametrize("case", LINES)
def test_lines_that_do_not_fit(tmp_path, case):
    content, message = LINES[case]
    told = refused(tmp_path, "log.csv", content)
    assert told.startswith("DataError: ") and "log.csv" in told and message in told


@pytest.mark.parametrize("files", [2, 3])
@pytest.mark.parametrize("line", ['1,"p\n', '"1,p\n', '1,"p'])
def test_an_open_quote_in_one_of_many_files(tmp_path, files, line):
    """However many are read at once: DuckDB takes it for the end of the file where they are more than two a thread."""
    for bad in {0, files - 1}:
        for at in range(files):
            text = f"user,pin\n0,a\n{line if at == bad else ''}2,q\n3,r\n"
            (tmp_path / f"log-{at}.csv").write_text(text)
        raw = config(sources=source("log-*.csv"), relations=[relation()], threads=1)
        assert f"log-{bad}.csv, line 3: a quote that is not closed" in str(failure(tmp_path, raw))
        shutil.rmtree(tmp_path / "graph")


@pytest.mark.parametrize("columns", [None, ["user", "pin"]])
@pytest.mark.parametrize("end", ["", "\n", "\n3\tr\n"])
def test_an_empty_field_too_many_in_a_tsv(tmp_path, columns, end):
    header = "" if columns else "user\tpin\n"
    told = refused(tmp_path, "log.tsv", f"{header}1\tp\n2\tq\t{end}", {"columns": columns})
    assert f"log.tsv, line {2 if columns else 3}: has 3 fields; expected 2" in told


@pytest.mark.parametrize("name", ["log.csv", "log.tsv"])
def test_an_empty_field_is_no_value(tmp_path, name):
    content = 'user,pin,x\n1,p,\n2,q,5\n,r,6\n"",s,7\n'
    content = content.replace('""', "").replace(",", "\t") if name == "log.tsv" else content
    assert clicks(tmp_path, name, content, where="x IS NULL OR user IS NOT NULL") == [("1", "p"), ("2", "q")]


def test_a_header_that_the_config_says_is_not_there(tmp_path):
    for name, content in (("log.csv", "User, pin\n1,p\n"), ("log.tsv", "user\tpin\n1\tp\n")):
        told = refused(tmp_path, name, content, {"columns": ["user", "pin"]})
        assert f"{name}, line 1: is a header, but graph.sources.log.columns says" in told


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("user,pin\r\n1,p\r\n", [("1", "p")]),
        ("\ufeffuser,pin\n1,p\n", [("1", "p")]),
        ('user,pin\n"a ""b"", c","d\ne"\n', [('a "b", c', "d\ne")]),
        ('"user","pin"\n1,p', [("1", "p")]),
        ("user,pin\n\n1,p\n\n", [("1", "p")]),
        ("pin,x,user\np,y,1\n", [("1", "p")]),
        ("user,pin\na\0b,p\n", [("a\0b", "p")]),
        ("user,pin\n#1,p\n", [("#1", "p")]),
        ('user,pin\n"\n",p\n', [("\n", "p")]),
    ],
)
def test_texts_as_people_write_them(tmp_path, content, expected):
    assert clicks(tmp_path, "log.csv", content) == expected


def test_files_of_a_source_may_order_their_columns(tmp_path):
    (tmp_path / "a.csv").write_text("user,pin\n1,a\n")
    (tmp_path / "b.csv").write_text("x,pin,user\n0,b,2\n")
    (tmp_path / "c.csv.gz").write_bytes(gzip.compress(b"user,pin\n3,c\n4,\n"))
    raw = config(sources=source("*.csv*"), relations=[relation(where="pin <> 'z'")])
    build(raw, tmp_path, tmp_path / "graph")
    assert [edge[2:] for edge in edges(tmp_path / "graph")] == [("1", "a"), ("2", "b"), ("3", "c")]
    (tmp_path / "d.csv").write_text("user,pin\n5,e\n6,\n")
    told = refused_of(tmp_path, config(sources=source("*.csv")))
    assert "d.csv, row 2: no value in column 'pin'" in told


def refused_of(root: Path, raw: dict) -> str:
    (root / "again").mkdir()
    for path in root.glob("*.csv"):
        (root / "again" / path.name).symlink_to(path)
    return str(failure(root / "again", raw))


tokens = st.sampled_from(["7", "07", "a b", 'q"t', "x,y", "l\nm", "é", " ", "NULL", "#", "\\", "'", "1.10", "true"])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(tokens, tokens), min_size=1, max_size=30), form=st.sampled_from(["csv", "crlf", "jsonl"])
)
def test_what_python_writes_is_read_back(tmp_path_factory, rows, form):
    text = io.StringIO()
    if form == "jsonl":
        text.write("".join(json.dumps({"user": user, "pin": pin}) + "\n" for user, pin in rows))
    else:
        writer = csv.writer(text, lineterminator="\r\n" if form == "crlf" else "\n", quoting=csv.QUOTE_ALL)
        writer.writerows([("user", "pin"), *rows])
    root = tmp_path_factory.mktemp("text")
    name = "log.jsonl" if form == "jsonl" else "log.csv"
    assert clicks(root, name, text.getvalue()) == sorted(rows)


def lines(*rows: dict) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_json_keeps_its_types(tmp_path):
    content = lines(
        {"user": 7, "pin": "07", "price": 1, "ok": True, "meta": {"k": "x"}},
        {"user": 8, "pin": "7", "price": 2.75, "ok": None, "meta": None},
        {"pin": "7", "user": 9, "price": 3, "ok": False, "rare": "r"},
    )
    assert clicks(tmp_path, "log.jsonl", content, where="price > 2.5 AND price < 2.9") == [("8", "7")]
    for where, expected in (("ok", "7"), ("meta ->> 'k' = 'x'", "7"), ("rare = 'r'", "9")):
        shutil.rmtree(tmp_path / "graph")
        assert clicks(tmp_path, "log.jsonl", content, where=where)[0][0] == expected


@pytest.mark.parametrize("column", ["user", "pin", "price"])
def test_json_that_changes_its_type(tmp_path, column):
    row = {"user": 7, "pin": "p", "price": 1}
    other = {**row, column: "8" if column != "pin" else 8}
    content = lines(*[row] * 110_000, other)
    told = refused(tmp_path, "log.jsonl", content, where="price > 0")
    assert f"log.jsonl, row 110001: column '{column}' is a" in told and "log.jsonl, row 1; expected one type" in told


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"user": 1, "pin": "a"}\n{"user": \n', "log.jsonl, line"),
        (b'{"user": 1, "pin": "a"}\n[1]\n', "log.jsonl, line 2"),
        (b'{"user": 1, "user": 2, "pin": "a"}\n', "duplicate key"),
        (b'{"user": 1, "pin": "\xff"}\n', "log.jsonl, line"),
        (b'\xef\xbb\xbf{"user": 1, "pin": "a"}\n{"user": \n', "log.jsonl, row 2: "),
        (b'\xef\xbb\xbf{"user": 1, "pin": "a"}\n[1]\n', "log.jsonl, row 2: "),
        (b'{"user": 1, "pni": "a"}\n', "has no column 'pin', did you mean 'pni'?"),
        (b'{"user": 1.5, "pin": "a"}\n', "column 'user' is DOUBLE"),
        (b'{"user": 12345678901234567890123, "pin": "a"}\n', "column 'user' is DOUBLE"),
        (b'{"user": {"a": 1}, "pin": "a"}\n', "column 'user' is JSON"),
    ],
)
def test_json_that_does_not_fit(tmp_path, content, message):
    assert message in refused(tmp_path, "log.jsonl", content)


@pytest.mark.parametrize("packed", [False, True])
def test_a_byte_order_mark_is_skipped(tmp_path, packed):
    """As of a CSV: also beside files without one, and whatever the order of the files."""
    for name, user, mark in (("a", 1, b""), ("b", 2, b"\xef\xbb\xbf"), ("c", 3, b"")):
        content = mark + lines({"user": user, "pin": "p"}, {"user": user + 10, "pin": "p"}).encode()
        path = tmp_path / f"{name}.jsonl{'.gz' if packed else ''}"
        path.write_bytes(gzip.compress(content) if packed else content)
    raw = config(sources={"log": {"path": "*.jsonl*"}}, relations=[relation()])
    build(raw, tmp_path, tmp_path / "graph")
    assert [lhs for *_, lhs, _ in edges(tmp_path / "graph")] == ["1", "11", "12", "13", "2", "3"]


@pytest.mark.parametrize("other", ["5", "[1]", '"a"', "true"])
def test_a_line_that_is_no_object_where_one_column_is_used(tmp_path, other):
    """DuckDB then takes whole lines for the values of that column."""
    (tmp_path / "log.csv").write_text("user,pin\n1,p\n")
    (tmp_path / "people.jsonl").write_text(f'{{"person": "1"}}\n{other}\n')
    sources = {"log": {"path": "log.csv"}, "people": {"path": "people.jsonl"}}
    consent = {"source": "people", "type": "user", "column": "person"}
    error = failure(tmp_path, config(sources=sources, relations=[relation(domain="offsite", consent=consent)]))
    assert "people.jsonl, line 2: " in str(error) and "one JSON object on each line" in str(error)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_fractions_of_an_epoch_are_floored(tmp_path, suffix):
    moments = [99.2, 99.9, 100.0, 100.75]
    if suffix == "csv":
        content = "user,pin,ts\n" + "".join(f"u{at},p,{ts}\n" for at, ts in enumerate(moments))
    else:
        content = lines(*({"user": f"u{at}", "pin": "p", "ts": ts} for at, ts in enumerate(moments)))
    (tmp_path / f"log.{suffix}").write_text(content)
    split = {"time": {"valid_from": 100, "test_from": 101}}
    raw = config(sources=source(f"log.{suffix}", time_column="ts", time_unit="s"), split=split)
    graph = build(raw, tmp_path, tmp_path / "graph")
    assert graph.window == (99, 99) and [graph.edges(one) for one in ("train", "valid", "test")] == [2, 2, 0]
    negative = content.replace("99.2", "-0.5")
    told = refused(tmp_path, f"log.{suffix}", negative, {"time_column": "ts", "time_unit": "s"})
    assert "row 1: column 'ts' has -1, the year 1969" in told


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_night_equals_a_full_build(tmp_path, suffix):
    """Whatever the first night looked like: 007 beside 7, whole prices beside broken ones, Yes beside maybe."""
    nights = [[("7", 2, "Yes")], [("007", 2.75, "maybe"), ("8", 3, "true")], [("9", 1, "")]]
    raw = config(
        sources=source(f"log/*.{suffix}", append_only=True, types={"price": "DOUBLE"}),
        relations=[relation(weight="price", where="price > 2.5 OR answer = 'Yes'")],
    )
    (tmp_path / "log").mkdir()
    before = None
    for night, rows in enumerate(nights):
        path = tmp_path / f"log/{night}.{suffix}"
        if suffix == "csv":
            path.write_text("user,pin,price,answer\n" + "".join(f"{u},p,{p},{a}\n" for u, p, a in rows))
        else:
            path.write_text(lines(*({"user": u, "pin": "p", "price": p, "answer": a} for u, p, a in rows)))
        before = night_of(tmp_path, raw, f"night-{night}", before)
    whole = night_of(tmp_path, raw, "whole", None)
    assert edges(before) == edges(whole)
    assert {edge[2] for edge in edges(whole)} == {"7", "007", "8"}


def night_of(root: Path, raw: dict, name: str, known: Path | None) -> Path:
    (root / name).mkdir()
    build_graph(GraphConfig.model_validate(raw), root, root / name, lambda step, done: None, known)
    return root / name


def test_a_night_of_json_that_changes_its_type(tmp_path):
    raw = config(sources=source("log/*.jsonl", append_only=True), relations=[relation(where="price > 2")])
    (tmp_path / "log").mkdir()
    (tmp_path / "log/1.jsonl").write_text(lines({"user": 1, "pin": "p", "price": 3}))
    before = night_of(tmp_path, raw, "one", None)
    (tmp_path / "log/2.jsonl").write_text(lines({"user": 2, "pin": "p", "price": 2.5}))
    with pytest.raises(DataError, match=r"2.jsonl: column 'price' is DOUBLE, but BIGINT in the files counted before"):
        night_of(tmp_path, raw, "two", before)


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"path": "x.parquet", "format": "parquet", "types": {"a": "DATE"}}, ("types",), "has its own types"),
        ({"path": "x.csv", "columns": ["user"], "types": {"usr": "DATE"}}, ("types", "usr"), "did you mean 'user'?"),
    ],
)
def test_types_of_the_config(changes, path, message):
    found = problems(config(sources={"log": changes}))
    assert any(at == ("sources", "log", *path) and message in text for at, text in found)


def test_a_type_of_a_column_that_is_not_there(tmp_path):
    told = refused(tmp_path, "log.csv", "user,pin,price\n1,p,1\n", {"types": {"prize": "DOUBLE"}})
    assert "ConfigError: graph.sources.log.types.prize: there is no such column, did you mean 'price'?" in told
