"""Pseudonyms in place of ids: the same graph under other names, and no id of the logs in any table or file."""

import hmac
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.errors import ConfigError, DataError
from artifacts.expressions.engine import Engine, literal, quoted
from artifacts.formats.graph import load_graph
from artifacts.pseudonyms import key_mark, pseudonym, pseudonyms
from partitioning import CheckConfig, GraphConfig, build_graph, forgotten_ids, source_files
from partitioning.engines import duckdb_reader
from partitioning.sources.pseudonyms import know_key, pseudonym_of
from tests.partitioning.events.test_consent import FORMATS, LISTS, build, consented, forgetting, held
from tests.partitioning.test_errors import PIN, check, config, failure, log, relation
from tests.worlds.partitioning_reference import edges

KEY = "a key of enough bytes"
IDS = {"hash": "hmac-sha256", "key_env": "TRANSRA_TEST_KEY"}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSRA_TEST_KEY", KEY)


def hidden(id: str) -> str:
    return pseudonym(id, KEY.encode())


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0")), st.binary(min_size=16))
def test_duckdb_agrees_with_python(id: str, key: bytes) -> None:
    assert pseudonym(id, key) == hmac.new(key, id.encode(), "sha256").hexdigest()
    assert pseudonyms(pa.array([id, None, id]), key).to_pylist() == [pseudonym(id, key), None, pseudonym(id, key)]


@pytest.mark.parametrize("secret", [KEY, "x" * 64, "y" * 65, "schlüssel mit umlaut"])
def test_sql_agrees_with_python(tmp_path: Path, secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSRA_TEST_KEY", secret)
    engine = Engine(tmp_path, 1 << 30, 1)
    know_key(engine, GraphConfig.model_validate(config(ids=IDS)))
    engine.lock([], [tmp_path])
    for id in ("", "u1", "ü", "'; DROP", "a" * 1000, "two\nlines"):
        found = engine.row(f"SELECT {pseudonym_of('x')} FROM (SELECT {literal(id)} AS x)")
        assert found == (pseudonym(id, secret.encode()),)
    assert engine.rows(f"SELECT {pseudonym_of('CAST(NULL AS VARCHAR)')}") == [(None,)]


@pytest.mark.parametrize("format", FORMATS)
def test_the_graph_is_the_same_under_other_names(tmp_path: Path, format: str) -> None:
    people = [("a", "yes", ""), ("b", "no", ""), ("d", "yes", "")]
    raw = consented(tmp_path, people, LISTS, format)
    table = pd.DataFrame({"user": ["q", "r"], "pin": [7, 8], "ts": [1, 2]})
    written = tmp_path / f"seen.{format}"
    if format == "csv":
        table.to_csv(written, index=False)
    elif format == "jsonl":
        table.to_json(written, orient="records", lines=True)
    else:
        table.to_parquet(written)
    raw["sources"]["seen"]["path"] = written.name
    raw["sources"]["gone"] = {"path": forgetting(tmp_path, [("user", "d")], format)["sources"]["gone"]["path"]}
    raw["forget"] = {"source": "gone"}
    raw["sources"]["people"]["path"] = consented(tmp_path, people, LISTS, format)["sources"]["people"]["path"]
    build(tmp_path, raw, "plain")
    report = build(tmp_path, {**raw, "ids": IDS}, "hidden")
    assert held(tmp_path, "hidden") == set(map(hidden, held(tmp_path, "plain"))) and held(tmp_path, "plain")
    named = {(split, name, hidden(lhs), hidden(rhs)) for split, name, lhs, rhs in edges(tmp_path / "plain")}
    assert set(edges(tmp_path / "hidden")) == named and {name for _, name, *_ in named} == {"view", "buy"}
    assert report.forgotten == {"user": {"found": 1, "not_found": 0}}
    section = GraphConfig.model_validate({**raw, "ids": IDS})
    assert forgotten_ids(section, source_files(section, tmp_path)) == {"user": [hidden("d")]}


def test_ids_that_are_looked_up(tmp_path: Path) -> None:
    log(pin=["a", "b", "b"]).to_parquet(tmp_path / "log.parquet")
    pd.DataFrame({"pin": ["a", "b"], "topic": ["x", "y"]}).to_csv(tmp_path / "topics.csv", index=False)
    look_up = {"type": "topic", "column": "pin", "join": {"source": "topics", "column": "pin", "to": "topic"}}
    raw = config(
        sources={"log": config()["sources"]["log"], "topics": {"path": "topics.csv"}},
        entities={"user": {}, "topic": {}},
        relations=[relation(rhs=look_up)],
        ids=IDS,
    )
    build(tmp_path, raw, "graph")
    found = {(lhs, rhs) for _, _, lhs, rhs in edges(tmp_path / "graph")}
    assert found == {(hidden(user), hidden(topic)) for user, topic in (("1", "x"), ("2", "y"), ("3", "y"))}


@pytest.mark.parametrize("format", [*FORMATS, "frame"])
def test_no_table_holds_an_id(tmp_path: Path, format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pd.DataFrame({"user": ["secret-1", "secret-2"], "pin": ["secret-3", "secret-4"], "ts": [1, 2]})
    path = tmp_path / f"log.{'parquet' if format == 'frame' else format}"
    writers = {"csv": rows.to_csv, "jsonl": rows.to_json}
    options = {"csv": {"index": False}, "jsonl": {"orient": "records", "lines": True}}
    writers.get(format, rows.to_parquet)(path, **options.get(format, {}))
    tables: list[str] = []

    def look(engine: Engine) -> None:
        for (name,) in engine.rows("SELECT table_name FROM duckdb_tables()"):
            tables.append(f"{name}: {engine.rows(f'SELECT * FROM {quoted(name)}')}")
        engine.connection.close()

    monkeypatch.setattr(duckdb_reader.Engine, "close", look)
    section = GraphConfig.model_validate(
        config(sources={"log": {**config()["sources"]["log"], "path": path.name}}, ids=IDS)
    )
    (tmp_path / "graph").mkdir()
    frames = {"log": rows} if format == "frame" else None
    build_graph(section, tmp_path, tmp_path / "graph", lambda step, fraction: None, None, frames)
    assert tables and any(hidden("secret-1") in table for table in tables)
    assert not any("secret" in table for table in tables)
    files = [path for path in (tmp_path / "graph").rglob("*") if path.is_file()]
    assert not any(b"secret" in path.read_bytes() for path in files)
    assert load_graph(tmp_path / "graph").entities == 4


@pytest.mark.parametrize(
    ("value", "told"), [(None, "is not set"), ("", "is not set"), ("short", "has 5 bytes; expected a key of 16 bytes")]
)
def test_a_key_that_is_missing_or_short(
    tmp_path: Path, value: str | None, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRANSRA_TEST_KEY") if value is None else monkeypatch.setenv("TRANSRA_TEST_KEY", value)
    log().to_parquet(tmp_path / "log.parquet")
    error = failure(tmp_path, config(ids=IDS))
    check(error, ConfigError, "graph.ids.key_env: the environment variable TRANSRA_TEST_KEY", told)


def test_a_condition_on_an_id_is_refused(tmp_path: Path) -> None:
    log().to_parquet(tmp_path / "log.parquet")
    error = failure(tmp_path, config(ids=IDS, relations=[relation(where="pin <> 'a'")]))
    check(error, ConfigError, "graph.relations[0].where: column 'pin' holds ids")


def test_an_id_that_is_a_time_as_well_is_refused(tmp_path: Path) -> None:
    log().to_parquet(tmp_path / "log.parquet")
    error = failure(tmp_path, config(ids=IDS, relations=[relation(rhs={**PIN, "column": "ts"})]))
    check(error, ConfigError, "graph.relations[0].rhs.column: 'ts' is no id alone")


@pytest.mark.parametrize("value", [1.5, {"a": 1}, [1]])
def test_json_that_is_no_id_is_refused_still(tmp_path: Path, value: object) -> None:
    pd.DataFrame({"user": [value], "pin": ["a"], "ts": [1]}).to_json(
        tmp_path / "log.jsonl", orient="records", lines=True
    )
    error = failure(tmp_path, config(sources={"log": {**config()["sources"]["log"], "path": "log.jsonl"}}, ids=IDS))
    check(error, DataError, "column 'user' is ", "for an id")


def test_a_mark_tells_keys_apart_without_saying_them() -> None:
    assert key_mark(b"one key of 16 by") != key_mark(b"two keys of 16 b") and len(key_mark(KEY.encode())) == 16


@pytest.mark.parametrize(
    "sql",
    [
        "getvariable('inner_pad')::VARCHAR::INTEGER",
        "strlen(hex(getvariable('outer_pad')))",
        "ascii(getvariable('inner_pad')::VARCHAR)",
    ],
)
def test_sql_of_a_check_finds_no_key(tmp_path: Path, sql: str) -> None:
    """Neither as its number nor in an error that repeats a value: the key goes before SQL of the config is run."""
    log().to_parquet(tmp_path / "log.parquet")
    (tmp_path / "graph").mkdir()
    check = CheckConfig(kind="sql", sql=f"SELECT {sql}", min=0)
    section = GraphConfig.model_validate(config(ids=IDS))
    report = build_graph(section, tmp_path, tmp_path / "graph", lambda step, fraction: None, checks=[check])
    assert list(report.measured.values()) == [None]
