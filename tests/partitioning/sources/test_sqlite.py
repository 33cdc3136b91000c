"""SQLite sources: the graph of a Parquet file of the same rows, one kind of value a column, and nothing but reading."""

import sqlite3
from pathlib import Path

import pandas as pd
import pytest

from artifacts.errors import ConfigError, DataError
from partitioning import GraphConfig, build_graph
from partitioning.sources.formats import sqlite as sqlite_module
from tests.partitioning.test_errors import check, config, failure, problems, relation
from tests.worlds.ledger_world import assert_same_bytes

ROWS = [(str(n % 7), f"p{n % 5}", n, n / 4 + 1, "x" if n % 2 else None) for n in range(50)]
COLUMNS = ["user", "pin", "ts", "amount", "note"]


def write(root: Path, rows: list[tuple] = ROWS) -> Path:
    path = root / "logs.db"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE clicks (user, pin, ts, amount, note)")
    database.executemany("INSERT INTO clicks VALUES (?, ?, ?, ?, ?)", rows)
    database.commit()
    database.close()
    return path


def raw(**source) -> dict:
    timed = {"time_column": "ts", "time_unit": "s"}
    weighted = relation(weight="amount", where="note = 'x' OR ts > 3")
    return config(
        sources={"log": {**timed, **source}},
        relations=[weighted],
        split={"time": {"valid_from": 30, "test_from": 40}},
    )


def build(root: Path, written: dict, name: str) -> Path:
    (root / name).mkdir()
    section = GraphConfig.model_validate(written)
    assert problems(written) == []
    build_graph(section, root, root / name, lambda step, fraction: None)
    return root / name


@pytest.mark.parametrize(
    "source",
    [
        {"path": "sqlite:///logs.db", "table": "clicks"},
        {"path": "logs.db", "table": "clicks"},
        {"path": "logs.db", "format": "sqlite", "query": "SELECT * FROM clicks WHERE ts >= 0"},
    ],
)
def test_a_database_gives_the_graph_of_its_rows(tmp_path: Path, source: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_module, "_BATCH", 7)
    before = write(tmp_path).read_bytes()
    pd.DataFrame(ROWS, columns=COLUMNS).to_parquet(tmp_path / "log.parquet")
    expected = build(tmp_path, raw(path="log.parquet"), "parquet")
    assert_same_bytes(build(tmp_path, raw(**source), "sqlite"), expected)
    assert (tmp_path / "logs.db").read_bytes() == before
    assert not list(tmp_path.glob("logs.db-*"))


def test_ids_become_pseudonyms_before_they_are_staged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "0123456789abcdef")
    write(tmp_path)
    pd.DataFrame(ROWS, columns=COLUMNS).to_parquet(tmp_path / "log.parquet")
    ids = {"ids": {"hash": "hmac-sha256", "key_env": "KEY"}}
    expected = build(tmp_path, {**raw(path="log.parquet"), **ids}, "parquet")
    assert_same_bytes(build(tmp_path, {**raw(**TABLE), **ids}, "sqlite"), expected)


TABLE = {"path": "logs.db", "table": "clicks"}


@pytest.mark.parametrize(
    ("source", "kind", "said"),
    [
        ({**TABLE, "table": "click"}, ConfigError, "graph.sources.log: no such table: click; expected a table"),
        ({"path": "logs.db", "query": "DELETE FROM clicks"}, ConfigError, "graph.sources.log: "),
        ({"path": "logs.db", "query": "SELECT 1) ; DROP TABLE clicks; --"}, ConfigError, "graph.sources.log: "),
        ({"path": "logs.db", "query": "SELECT * FROM clicks ORDER BY random()"}, ConfigError, "random"),
        ({"path": "logs.db", "query": "SELECT user, pin, ts FROM clicks"}, ConfigError, "no column 'note'"),
        ({"path": "logs.db", "query": "SELECT pin, ts, amount, note FROM clicks"}, DataError, "no column 'user'"),
    ],
)
def test_what_is_no_table_is_one_line(tmp_path: Path, source: dict, kind: type, said: str) -> None:
    before = write(tmp_path).read_bytes()
    check(failure(tmp_path, raw(**source)), kind, said)
    assert (tmp_path / "logs.db").read_bytes() == before


@pytest.mark.parametrize("value", [7, 7.5, b"7"])
def test_a_column_holds_one_kind(tmp_path: Path, value: object) -> None:
    write(tmp_path, [*ROWS, (value, "p", 1, 1.0, "x")])
    check(failure(tmp_path, raw(**TABLE)), DataError, "logs.db: column 'user' of source 'log' holds", "and text")


def test_text_is_utf8(tmp_path: Path) -> None:
    path = write(tmp_path)
    with sqlite3.connect(path) as database:
        database.execute("UPDATE clicks SET user = CAST(x'ff' AS TEXT) WHERE ts = 3")
    database.close()
    check(failure(tmp_path, raw(**TABLE)), DataError, "logs.db: holds text that is not UTF-8")


def test_a_missing_id_names_its_row(tmp_path: Path) -> None:
    write(tmp_path, [*ROWS, (None, "p", 41, 1.0, "x")])
    check(failure(tmp_path, raw(**TABLE)), DataError, "logs.db, row 51: ", "user")


def test_files_that_are_no_whole_database(tmp_path: Path) -> None:
    path = write(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(b"user,pin\n" + bytes(100))
    check(failure(tmp_path, raw(**TABLE)), DataError, "logs.db: is not a SQLite database")
    (tmp_path / "graph").rmdir()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    check(failure(tmp_path, raw(**TABLE)), DataError, "logs.db: the database is damaged")
    (tmp_path / "graph").rmdir()
    path.write_bytes(whole)
    (tmp_path / "logs.db-wal").write_bytes(b"more")
    check(failure(tmp_path, raw(**TABLE)), DataError, "logs.db-wal: holds changes that are not in the database yet")


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ({"path": "sqlite:///logs.db"}, ()),
        ({**TABLE, "query": "SELECT 1"}, ()),
        ({**TABLE, "append_only": True}, ("append_only",)),
        ({**TABLE, "columns": ["user"]}, ("columns",)),
        ({**TABLE, "format": "csv"}, ("format",)),
    ],
)
def test_what_means_nothing_of_a_database(source: dict, path: tuple) -> None:
    found = [where for where, _ in problems(raw(**source))]
    assert ("sources", "log", *path) in found
