"""`where` and `weight` are functions of the row: no file, no clock, no chance, no other row."""

import os
import shutil

import pandas as pd
import pytest

from artifacts.errors import ConfigError, DataError
from artifacts.expressions.engine import Engine, literal
from tests.partitioning.test_errors import PIN, USER, check, config, failure, log, relation
from tests.worlds.partitioning_reference import build, edges

PURE = [
    "user > 1 AND pin <> 'z'",
    "lower(pin) IN ('a', 'b') OR pin LIKE '%c' ESCAPE '!'",
    "CASE WHEN user BETWEEN 1 AND 9 THEN true ELSE false END",
    "coalesce(nullif(pin, 'z'), 'y') ~ '[a-c]'",
    "split_part(pin || '/x', '/', 1) = pin",
    "extract(hour FROM to_timestamp(ts)) = 0 AND to_timestamp(ts) < TIMESTAMP '2200-01-01' + INTERVAL 1 DAY",
    "pin COLLATE NOCASE = 'A' OR user::VARCHAR IS NOT NULL",
    "[1, 2][1] = 1 AND {'a': user}.a >= 1 AND if(user > 0, true, false)",
    "USER > 0 /* columns have no case */",
    "md5(pin) IS NOT NULL AND hash(pin) % 2 < 2",
]


@pytest.mark.parametrize("where", PURE)
def test_functions_of_the_row(tmp_path, where):
    log().to_parquet(tmp_path / "log.parquet")
    build(config(relations=[relation(where=where)]), tmp_path, tmp_path / "graph")
    assert edges(tmp_path / "graph")


IMPURE = [
    "random() < 0.5",
    "now() > TIMESTAMP '2026-01-01'",
    "to_timestamp(ts) < current_timestamp",
    "current_date > DATE '2026-01-01'",
    "today() IS NOT NULL",
    "ago(INTERVAL 1 DAY) IS NOT NULL",
    "age(TIMESTAMP '2026-01-01') IS NOT NULL",
    "current_localtimestamp() IS NOT NULL",
    "uuid() <> pin",
    "lower(CAST(gen_random_uuid() AS VARCHAR)) <> pin",
    "nextval('s') > 1",
    "current_setting('threads') > 1",
    "getvariable('x') IS NULL",
    "count(*) > 1",
    "sum(user) > 1",
    "row_number() OVER () > 1",
    "user IN (SELECT 1)",
    "EXISTS (SELECT 1)",
    "(SELECT content FROM read_text('/etc/passwd')) IS NOT NULL",
    "user = ANY([1, 2])",
    "unnest([true])",
    "list_filter([1], lambda x: x > random())[1] = 1",
    "main.random() > 0",
    "pg_sleep(1) IS NULL",
    "error('x')",
    "#1 > 1",
    "$1",
    "*",
    "COLUMNS('user') > 1",
    "true) FROM x WHERE (true",
    "true), (true",
    "true) LIMIT 0; COPY (SELECT 42) TO 'x'; SELECT (true",
    "true); ATTACH 'x.db'; SELECT (true",
    "true) UNION SELECT (true",
    "true) ORDER BY (1",
    "true -- and the rest",
    "",
    "nope(user)",
    "getenv('HOME') IS NOT NULL",
    "system.main.getenv('HOME') IS NULL",
    "list_transform([1], x -> getenv('HOME')) IS NULL",
    "read_text('/etc/passwd') IS NOT NULL",
    "pin IN (FROM '/etc/passwd')",
    "pin IN (SELECT column0 FROM read_csv('http://127.0.0.1:9/x.csv'))",
    "EXISTS (FROM 's3://bucket/x.parquet')",
    "glob('/etc/*') IS NULL",
    "query('SELECT 1') IS NULL",
    "which_secret('s3://x', 's3') IS NULL",
    "json_execute_serialized_sql('{}') IS NULL",
    "write_log(pin) IS NULL",
    "checkpoint() IS NULL",
    "current_query() IS NULL",
    "user() = 'x'",
    "sleep_ms(1) IS NULL",
]


@pytest.mark.parametrize("sql", IMPURE)
@pytest.mark.parametrize("key", ["where", "weight"])
def test_what_is_no_function_of_the_row(tmp_path, monkeypatch, sql, key):
    monkeypatch.chdir(tmp_path)
    log().to_parquet(tmp_path / "log.parquet")
    error = failure(tmp_path, config(relations=[relation(**{key: sql})]))
    check(error, ConfigError, f"graph.relations[0].{key}: ")
    assert sorted(os.listdir(tmp_path)) == ["graph", "log.parquet"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"where": "usr = 1"}, "has no column 'usr', did you mean 'user'?"),
        ({"where": "loewr(pin) = 'a'"}, "unknown function 'loewr', did you mean 'lower'?"),
        ({"where": "pin > 5"}, "column 'pin' of 'log' is text, compared with INTEGER"),
        ({"where": "user = pin"}, "write CAST(pin AS DOUBLE)"),
        ({"where": "pin"}, "used as a condition"),
        ({"where": "agreed"}, "column 'agreed' is DOUBLE, of which NaN would be true; write what it is, as = 1"),
        ({"where": "agreed IS TRUE OR user = 1"}, "is DOUBLE, of which NaN would be true"),
        ({"where": "to_timestamp(ts)"}, "expected a condition, true or false"),
        ({"where": "regexp_matches(pin, '(')"}, "missing )"),
        ({"weight": "pin"}, "used as a number"),
        ({"weight": "user > 1"}, "expected a number"),
    ],
)
def test_types_are_not_guessed(tmp_path, changes, message):
    log(agreed=[1.0, 0.0, 1.0]).to_parquet(tmp_path / "log.parquet")
    check(failure(tmp_path, config(relations=[relation(**changes)])), ConfigError, "graph.relations[0].", message)


def test_a_consents_condition_is_one_too(tmp_path):
    log().to_parquet(tmp_path / "log.parquet")
    (tmp_path / "people.csv").write_text("user,answer\n1,yes\n2,YES\n3,t\n")
    sources = {"log": {"path": "log.parquet"}, "people": {"path": "people.csv"}}
    consent = {"source": "people", "type": "user", "column": "user"}

    def raw(where: str) -> dict:
        relations = [relation(domain="offsite")]
        return config(sources=sources, relations=relations, consent={**consent, "where": where})

    for where, message in (("random() > 0.5", "depends on more than the row"), ("answer", '{ answer: "BOOLEAN" }')):
        check(failure(tmp_path, raw(where)), ConfigError, "graph.consent.where: ", message)
        shutil.rmtree(tmp_path / "graph")
    build(raw("answer = 'yes'"), tmp_path, tmp_path / "graph")
    assert [edge[2] for edge in edges(tmp_path / "graph")] == ["1"], "YES and t are other answers"


@pytest.fixture
def locked(tmp_path):
    """An engine that may read in.parquet and use spill/, and nothing else."""
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "in.parquet")
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "other.parquet")
    (tmp_path / "spill").mkdir()
    engine = Engine(tmp_path / "spill/duckdb", 600_000_000, 2)
    engine.lock([tmp_path / "in.parquet"], [tmp_path / "spill"])
    yield engine
    engine.close()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_parquet('{0}/other.parquet')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM glob('{0}/*')",
        "SELECT * FROM read_parquet('{0}/spill/../other.parquet')",
        "SELECT * FROM read_parquet('{0}/*.parquet')",
        "SELECT * FROM read_blob('/proc/self/environ')",
        "FROM sniff_csv('/etc/passwd')",
        "COPY (SELECT 1) TO '{0}/spill/../out.csv'",
        "EXPORT DATABASE '{0}/out'",
        "IMPORT DATABASE '{0}'",
        "ATTACH 's3://bucket/x.db'",
        "CREATE SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')",
        "COPY (SELECT 1) TO '{0}/out.csv'",
        "ATTACH '{0}/out.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SELECT * FROM read_csv('http://127.0.0.1:9/x.csv')",
        "SET threads = 1",
        "SET enable_external_access = true",
        "SET allowed_directories = ['/']",
    ],
)
def test_the_engine_is_locked(locked, tmp_path, sql):
    with pytest.raises(DataError):
        locked.run(sql.format(tmp_path))
    assert sorted(os.listdir(tmp_path)) == ["in.parquet", "other.parquet", "spill"]


def test_a_locked_engine_reads_and_spills(locked, tmp_path):
    assert locked.row(f"SELECT x FROM read_parquet([{literal(str(tmp_path / 'in.parquet'))}])") == (1,)
    locked.run(
        "CREATE TEMP TABLE big AS SELECT md5(i::VARCHAR) AS h, md5((i + 1)::VARCHAR) AS k FROM range(5000000) t(i)"
    )
    assert os.listdir(tmp_path / "spill") == ["duckdb"] and os.listdir(tmp_path / "spill/duckdb")
    assert locked.row("SELECT count(DISTINCT h) FROM big") == (5_000_000,)


def test_sides_are_ids(tmp_path):
    """An expression has no place where a column is asked for."""
    log().to_parquet(tmp_path / "log.parquet")
    raw = config(relations=[relation(lhs={**USER, "column": 'user" || "pin'}, rhs=PIN)])
    check(failure(tmp_path, raw), DataError, "no column")
