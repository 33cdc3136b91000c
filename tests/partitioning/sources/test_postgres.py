"""PostgreSQL sources: the graph of a Parquet file of the same rows, exact types, one moment, and nothing said of how
the server is reached."""

import sys
from contextlib import closing
from pathlib import Path

import pandas as pd
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artifacts.errors import ConfigError, DataError
from artifacts.expressions.engine import Engine
from partitioning import GraphConfig, plan_graph, relation_names, source_files, table_states
from partitioning.config.sections import LEAST_MEMORY, PostgresConfig
from partitioning.sources.formats import postgres as postgres_module
from partitioning.sources.formats.postgres import open_postgres
from partitioning.sources.formats.servers import Servers
from partitioning.sources.used import Use
from tests.partitioning.sources.test_sqlite import build
from tests.partitioning.test_errors import check, config, failure, problems, relation
from tests.worlds.ledger_world import assert_same_bytes
from tests.worlds.postgres_server import ENCODED, PASSWORD, PostgresServer

ROWS = [(str(n % 7), f'p"{n % 5}\n,', n, n / 4 + 1, None if n % 3 == 0 else "x" if n % 2 else "") for n in range(50)]
COLUMNS = ["user", "pin", "ts", "amount", "note"]
DECLARED = '"user" text, pin text, ts bigint, amount double precision, note text'
TABLE = {"url_env": "LOGS_URL", "table": "clicks"}


@pytest.fixture
def server(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> PostgresServer:
    postgres.fill("clicks", DECLARED, ROWS)
    monkeypatch.setenv("LOGS_URL", postgres.url)
    return postgres


def raw(postgres: dict | None = None, **source) -> dict:
    timed = {"time_column": "ts", "time_unit": "s"}
    weighted = relation(weight="amount", where="note = 'x' OR note = '' OR ts > 3")
    place = {"postgres": postgres} if postgres else {}
    return config(
        sources={"log": {**timed, **place, **source}},
        relations=[weighted],
        split={"time": {"valid_from": 30, "test_from": 40}},
    )


def states(postgres: dict) -> dict:
    return table_states(GraphConfig.model_validate(raw(postgres)))


def parquet(root: Path) -> Path:
    pd.DataFrame(ROWS, columns=COLUMNS).to_parquet(root / "log.parquet")
    return build(root, raw(path="log.parquet"), "parquet")


@pytest.mark.parametrize(
    "source",
    [
        TABLE,
        {"url_env": "LOGS_URL", "table": "public.clicks"},
        {"url_env": "LOGS_URL", "query": "SELECT * FROM clicks WHERE note IS NULL OR note LIKE '%' -- all of them"},
    ],
)
def test_a_table_gives_the_graph_of_its_rows(
    server: PostgresServer, tmp_path: Path, source: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_module, "_BLOCK_BYTES", 100)
    assert_same_bytes(build(tmp_path, raw(source), "postgres"), parquet(tmp_path))


def test_the_order_of_rows_says_nothing(server: PostgresServer, tmp_path: Path) -> None:
    shuffled = {"url_env": "LOGS_URL", "query": "SELECT * FROM clicks ORDER BY md5(ts::text)"}
    assert_same_bytes(build(tmp_path, raw(shuffled), "postgres"), parquet(tmp_path))


def test_libpq_finds_the_server(server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOGS_URL")
    service, passwords = tmp_path / "services", tmp_path / "passwords"
    service.write_text(f"[nightly]\nhost=127.0.0.1\nport={server.port}\ndbname=logs\nuser=reader\n")
    passwords.write_text("*:*:*:*:" + PASSWORD.replace(":", "\\:"))
    passwords.chmod(0o600)
    monkeypatch.setenv("PGSERVICEFILE", str(service))
    monkeypatch.setenv("PGPASSFILE", str(passwords))
    monkeypatch.setenv("PGSERVICE", "nightly")
    assert_same_bytes(build(tmp_path, raw({"table": "clicks"}), "postgres"), parquet(tmp_path))
    monkeypatch.setenv("PGSERVICE", "weekly")
    check(failure(tmp_path, raw({"table": "clicks"})), DataError, "source 'log': ", "there is no such service")


def test_ids_become_pseudonyms_before_they_are_staged(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "0123456789abcdef")
    pd.DataFrame(ROWS, columns=COLUMNS).to_parquet(tmp_path / "log.parquet")
    ids = {"ids": {"hash": "hmac-sha256", "key_env": "KEY"}}
    expected = build(tmp_path, {**raw(path="log.parquet"), **ids}, "parquet")
    assert_same_bytes(build(tmp_path, {**raw(TABLE), **ids}, "postgres"), expected)


BIG = (1 << 62) + 1
TYPES = {
    "bigint": (pa.int64(), [BIG, -BIG, None]),
    "integer": (pa.int32(), [(1 << 31) - 1, -(1 << 31), None]),
    "smallint": (pa.int16(), [32767, -32768, None]),
    "text": (pa.string(), ["", "é\r\n\\N", None]),
    "varchar(9)": (pa.string(), ["NULL", "\\.", None]),
    "boolean": (pa.bool_(), [True, False, None]),
    "date": (pa.date32(), ["2026-02-28", "0001-01-01", None]),
    "timestamp": (pa.timestamp("us"), ["2026-02-28 01:02:03.000004", "1969-12-31 23:59:59.5", None]),
    "timestamptz": (pa.timestamp("us", "UTC"), ["2026-02-28 01:02:03.000004+00", "1969-12-31 23:59:59.5+00", None]),
    "double precision": (pa.float64(), [0.1, float("inf"), None]),
    "real": (pa.float32(), [3.4028234663852886e38, float("-inf"), None]),
    "numeric(38, 9)": (pa.decimal128(38, 9), ["12345678901234567890123456789.123456789", "-0.000000001", None]),
}


@pytest.mark.parametrize("kind", TYPES)
def test_types_are_exact(server: PostgresServer, tmp_path: Path, kind: str) -> None:
    """Values come as Parquet has them, and under the same type."""
    arrow, values = TYPES[kind]
    made = pa.array(values, pa.string()).cast(arrow) if isinstance(values[0], str) else pa.array(values, arrow)
    server.fill("clicks", "value text", [(str(value) if isinstance(value, float) else value,) for value in values])
    server.run(f"ALTER TABLE clicks ALTER value TYPE {kind} USING value::{kind}")
    pq.write_table(pa.table({"value": made}), tmp_path / "log.parquet")
    engine = Engine(tmp_path / "spill", LEAST_MEMORY, 1)
    with closing(engine), Servers() as servers:
        opened = open_postgres(engine, servers, "log", PostgresConfig(**TABLE), Use(checked=["value"]))
        file = f"read_parquet('{tmp_path}/log.parquet')"
        read, expected = (
            engine.connection.sql(f"SELECT * FROM {table}").to_arrow_table() for table in (opened.table, file)
        )
        assert read == expected
        assert opened.types == engine.columns(f"SELECT * FROM {file}")


def test_nan_is_nan(server: PostgresServer, tmp_path: Path) -> None:
    server.run("UPDATE clicks SET amount = 'NaN' WHERE ts = 7")
    error = failure(tmp_path, config(sources={"log": {"postgres": TABLE}}, relations=[relation(weight="amount")]))
    check(error, DataError, "source 'log', row 50", "nan")


def test_ids_are_texts_as_the_server_writes_them(server: PostgresServer, tmp_path: Path) -> None:
    server.fill("clicks", '"user" uuid, pin char(4)', [("A0EEBC999C0B4EF8BB6D6BB9BD380A11", "p")])
    rows = pd.DataFrame({"user": ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"], "pin": ["p"]})
    rows.to_parquet(tmp_path / "log.parquet")
    both = [config(sources={"log": source}) for source in ({"postgres": TABLE}, {"path": "log.parquet"})]
    assert_same_bytes(*(build(tmp_path, written, f"graph{n}") for n, written in enumerate(both)))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("numeric", "numeric without a number of digits"),
        ("numeric(50, 2)", "numeric(50,2)"),
        ("numeric(2, 5)", "numeric(2,5)"),
        ("jsonb", "jsonb"),
        ("text[]", "text[]"),
        ("interval", "interval"),
        ("bytea", "bytea"),
        ("colour", "colour"),
    ],
)
def test_a_type_without_a_counterpart_is_refused(server: PostgresServer, tmp_path: Path, kind: str, said: str) -> None:
    server.run("CREATE TYPE colour AS ENUM ('red')", f"ALTER TABLE clicks ADD odd {kind}")
    build(tmp_path, raw(TABLE), "unused")
    where = [relation(where="odd IS NULL")]
    error = failure(tmp_path, {**raw(TABLE), "relations": where})
    check(error, DataError, "source 'log': column 'odd' is ", said, "casts it")


@pytest.mark.parametrize(
    ("declared", "value", "said"),
    [
        ("timestamp", "infinity", "column 'ts' has 'infinity'; expected TIMESTAMP"),
        ("timestamptz", "0044-03-15 12:00:00 BC", "BC'; expected TIMESTAMP WITH TIME ZONE"),
        ("date", "12026-01-01", "column 'ts' has '12026-01-01'; expected DATE"),
        ("numeric(9, 2)", "NaN", "column 'ts' has 'NaN'; expected DECIMAL(9,2)"),
    ],
)
def test_a_value_without_a_counterpart_names_its_row(
    server: PostgresServer, tmp_path: Path, declared: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_module, "_BLOCK_BYTES", 30)
    server.fill("clicks", f'"user" text, pin text, ts {declared}', [("a", "p", None)] * 9 + [("a", "p", value)])
    written = config(sources={"log": {"postgres": TABLE}}, relations=[relation(where="ts IS NOT NULL")])
    check(failure(tmp_path, written), DataError, "source 'log', row 10: ", said)


def test_text_is_utf8(server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.run("DROP DATABASE IF EXISTS bytes", "CREATE DATABASE bytes ENCODING 'SQL_ASCII' TEMPLATE template0")
    url = server.url.replace("/logs", "/bytes")
    with psycopg.connect(url) as connection:
        connection.execute('CREATE TABLE clicks ("user" text, pin text)')
        connection.execute(r"INSERT INTO clicks VALUES ('a', 'p'), (E'\377', 'p')")
    monkeypatch.setenv("LOGS_URL", url)
    error = failure(tmp_path, config(sources={"log": {"postgres": TABLE}}))
    check(error, DataError, "source 'log': PostgreSQL says: invalid byte sequence")


@pytest.mark.parametrize(
    ("source", "kind", "said"),
    [
        ({"table": "click"}, ConfigError, "graph.sources.log.postgres.table: there is no table 'click'"),
        ({"table": "a.b.c.d"}, ConfigError, "graph.sources.log.postgres.table: "),
        ({"table": "clicks; DROP TABLE clicks"}, ConfigError, "graph.sources.log.postgres.table: "),
        ({"query": "DELETE FROM clicks"}, ConfigError, "graph.sources.log.postgres.query: "),
        ({"query": "WITH d AS (DELETE FROM clicks RETURNING *) SELECT * FROM d"}, ConfigError, "graph.sources.log"),
        ({"query": "SELECT 1) AS s; DROP TABLE clicks; --"}, ConfigError, "graph.sources.log.postgres.query: "),
        ({"query": "SELECT 1;"}, ConfigError, "graph.sources.log.postgres.query: "),
        ({"query": "SELECT nextval('ids')"}, ConfigError, "graph.sources.log"),
        ({"query": "SELECT 1 / (ts - ts) AS ts FROM clicks"}, DataError, "PostgreSQL says: division by zero"),
        ({"query": 'SELECT "user", pin, ts FROM clicks'}, ConfigError, "no column 'note'"),
        ({"query": "SELECT pin, ts, amount, note FROM clicks"}, DataError, "source 'log' has no column 'user'"),
    ],
)
def test_what_is_no_table_is_one_line(
    server: PostgresServer, tmp_path: Path, source: dict, kind: type, said: str
) -> None:
    server.run("CREATE SEQUENCE ids")
    error = failure(tmp_path, raw({"url_env": "LOGS_URL", **source}))
    check(error, kind, said)
    assert PASSWORD not in str(error)
    build(tmp_path, raw(TABLE), "still there")


@pytest.mark.parametrize(
    ("url", "kind", "said"),
    [
        ("", ConfigError, "graph.sources.log.postgres.url_env: the environment variable LOGS_URL is not set"),
        ("postgresql//reader:secret@nowhere", ConfigError, "url_env: LOGS_URL is no connection string"),
        ("host=127.0.0.1 secret", ConfigError, "url_env: LOGS_URL is no connection string"),
        ("postgresql://reader:secret@127.0.0.1:{port}/logs", DataError, "the password or the user is wrong"),
        ("postgresql://reader@127.0.0.1:{port}/logs", DataError, "wants a password"),
        ("postgresql://reader:secret@127.0.0.1:1/logs", DataError, "no server answers there"),
        ("postgresql://reader:{password}@127.0.0.1:{port}/secret", DataError, "there is no such database"),
        ("postgresql://reader:x@secret@127.0.0.1:{port}/logs", DataError, "cannot connect to PostgreSQL"),
    ],
)
def test_a_server_that_does_not_answer(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, kind: type, said: str
) -> None:
    monkeypatch.setenv("LOGS_URL", url.format(port=server.port, password=ENCODED))
    error = failure(tmp_path, raw(TABLE))
    check(error, kind, said)
    chain = [error]
    while (cause := chain[-1].__cause__) or (not chain[-1].__suppress_context__ and (cause := chain[-1].__context__)):
        chain.append(cause)
    assert not any("secret" in str(one) or "127.0.0.1" in str(one) for one in chain)


def test_who_may_not_read_a_table(server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.run("DROP ROLE IF EXISTS guest", "CREATE ROLE guest LOGIN PASSWORD 'guest'")
    monkeypatch.setenv("LOGS_URL", f"postgresql://guest:guest@127.0.0.1:{server.port}/logs")
    check(failure(tmp_path, raw(TABLE)), DataError, "source 'log': PostgreSQL says: permission denied for table clicks")


def test_without_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    check(failure(tmp_path, raw(TABLE)), ConfigError, "graph.sources.log.postgres: ", "pip install '.[postgres]'")


@pytest.fixture
def between_blocks(monkeypatch: pytest.MonkeyPatch) -> list:
    """What is to be run, once, while rows are read."""
    actions, original = [], postgres_module._table

    def hooked(name: str, block: object, columns: list, first: int) -> pa.Table:
        if first > 10 and actions:
            actions.pop()()
        return original(name, block, columns, first)

    monkeypatch.setattr(postgres_module, "_BLOCK_BYTES", 100)
    monkeypatch.setattr(postgres_module, "_table", hooked)
    return actions


def test_a_connection_that_breaks_half_way(server: PostgresServer, tmp_path: Path, between_blocks: list) -> None:
    server.run("INSERT INTO clicks SELECT 'u', 'p', 41, 1, repeat('x', 10000) FROM generate_series(1, 2000)")
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY%'"
    between_blocks.append(lambda: server.run(others))
    check(failure(tmp_path, raw(TABLE)), DataError, "source 'log': the connection to PostgreSQL was lost")
    assert not between_blocks


def test_all_tables_are_of_one_moment(server: PostgresServer, tmp_path: Path, between_blocks: list) -> None:
    """A second table that changes while the first is read is as it was."""
    server.run("CREATE TABLE views AS SELECT * FROM clicks")
    two = [relation(), relation(name="view", source="views")]
    sources = {name: {"postgres": {**TABLE, "table": table}} for name, table in (("log", "clicks"), ("views", "views"))}
    written = config(sources=sources, relations=two)
    expected = build(tmp_path, written, "before")
    between_blocks.append(lambda: server.run("INSERT INTO views VALUES ('new', 'new')"))
    assert_same_bytes(build(tmp_path, written, "after"), expected)
    assert not between_blocks


def test_an_empty_table(server: PostgresServer, tmp_path: Path) -> None:
    server.run("DELETE FROM clicks")
    check(failure(tmp_path, raw(TABLE)), DataError, "relation 'click' has no edges")
    pd.DataFrame(ROWS, columns=COLUMNS).to_parquet(tmp_path / "log.parquet")
    sources = {"log": {"postgres": TABLE}, "full": {"path": "log.parquet"}}
    relations = [relation(allow_empty=True), relation(name="view", source="full")]
    build(tmp_path, config(sources=sources, relations=relations), "one is empty")


def test_rows_are_told_from_others(server: PostgresServer) -> None:
    first = states(TABLE)
    assert states(TABLE) == first
    server.run("UPDATE clicks SET note = 'y' WHERE ts = 3")
    second = states(TABLE)
    assert second != first
    server.run("DELETE FROM clicks WHERE ts = 3")
    assert states(TABLE) not in (first, second)
    with_version = {**TABLE, "version": "SELECT max(ts), count(*) FROM clicks"}
    third = states(with_version)
    server.run("UPDATE clicks SET note = 'z'")
    assert states(with_version) == third
    server.run("INSERT INTO clicks VALUES ('u', 'p', 99)")
    assert states(with_version) != third


def test_what_tells_rows_apart_does_not_hang_on_the_session(server: PostgresServer) -> None:
    server.run("ALTER TABLE clicks ADD at timestamptz DEFAULT now()")
    first = states(TABLE)
    server.run("ALTER DATABASE logs SET TimeZone = 'Asia/Tokyo'", "ALTER DATABASE logs SET DateStyle = 'German'")
    assert states(TABLE) == first


def test_columns_called_source(server: PostgresServer) -> None:
    server.run("ALTER TABLE clicks ADD source text")
    first = states(TABLE)
    server.run("UPDATE clicks SET note = 'y' WHERE ts = 3")
    assert states(TABLE) != first


@pytest.mark.parametrize("version", ["SELECT 1 WHERE false", "SELECT ts FROM clicks"])
def test_a_version_is_one_row(server: PostgresServer, version: str) -> None:
    with pytest.raises(ConfigError, match=r"graph\.sources\.log\.postgres\.version: gives .*; expected one row"):
        states({**TABLE, "version": version})


def test_the_plan_counts_rows(server: PostgresServer, tmp_path: Path) -> None:
    plan = plan_graph(GraphConfig.model_validate(raw(TABLE)), tmp_path)
    assert plan.rows == len(ROWS)
    assert plan.input_bytes > len(ROWS) * 20


def test_relations_by_name(server: PostgresServer, tmp_path: Path) -> None:
    named = [{**relation(relation_column="note"), "name": None}]
    section = GraphConfig.model_validate(config(sources={"log": {"postgres": TABLE}}, relations=named))
    server.run("DELETE FROM clicks WHERE note IS NULL OR note = ''")
    assert relation_names(section, source_files(section, tmp_path)) == ["x"]


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ({}, ("path",)),
        ({"path": "x.parquet", "postgres": TABLE}, ("path",)),
        ({"postgres": {"url_env": "X"}}, ("postgres",)),
        ({"postgres": {**TABLE, "query": "SELECT 1"}}, ("postgres",)),
        ({"postgres": TABLE, "format": "csv"}, ("format",)),
        ({"postgres": TABLE, "table": "x"}, ("table",)),
        ({"postgres": TABLE, "types": {"ts": "BIGINT"}}, ("types",)),
        ({"postgres": TABLE, "append_only": True}, ("append_only",)),
    ],
)
def test_what_means_nothing_of_a_server(source: dict, path: tuple) -> None:
    assert ("sources", "log", *path) in [where for where, _ in problems(raw(**source))]


def test_no_ledger_of_a_table() -> None:
    sources = {"log": {"path": "x.parquet", "append_only": True}, "more": {"postgres": TABLE}}
    both = [relation(source=["log", "more"])]
    assert ("sources", "more", "postgres") in [at for at, _ in problems(config(sources=sources, relations=both))]
