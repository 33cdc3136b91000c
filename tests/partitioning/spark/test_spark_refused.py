"""What a config or a machine has not for Spark is one line, before anything is read."""

import sys
from pathlib import Path

import pytest

from artifacts.errors import ConfigError, ResourceError
from partitioning import CheckConfig, GraphConfig, check_problems, graph_problems
from partitioning.config.sections import SparkConfig
from partitioning.spark.session import spark_session, translated_spark
from tests.partitioning.test_errors import config, relation

LOG = config()["sources"]["log"]
CONSENT = {"source": "people", "type": "user", "column": "user", "from_column": "since", "to_column": "until"}
PEOPLE = {"people": {"path": "people.csv"}}


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"sources": {"log": {**LOG, "append_only": True}}}, ("sources", "log", "append_only")),
        ({"sources": {"log": {"postgres": {"table": "log"}, "time_column": "ts"}}}, ("sources", "log", "postgres")),
        ({"sources": {"log": {"path": "sqlite:///log.db", "table": "log"}}}, ("sources", "log", "format")),
        ({"sources": {"log": {**LOG, "format": "jsonl"}}}, ("sources", "log", "format")),
        ({"ids": {"hash": "hmac-sha256", "key_env": "KEY"}}, ("ids",)),
        ({"sources": {"log": LOG, **PEOPLE}, "consent": CONSENT}, ("consent", "from_column")),
        (
            {"sources": {"log": LOG, **PEOPLE}, "relations": [relation(domain="offsite", consent=CONSENT)]},
            ("relations", 0, "consent", "from_column"),
        ),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_what_spark_cannot_do_is_named(changes: dict, path: tuple) -> None:
    def problems(engine: str) -> list[tuple]:
        section = GraphConfig.model_validate(config(**changes, engine=engine))
        return [(problem.path, problem.message) for problem in graph_problems(section)]

    assert problems("duckdb") == []
    ((where, message),) = problems("spark")
    assert where == path and message == 'graph.engine "spark" cannot do this; remove it, or use "duckdb"'


def test_checks_that_read_sources_are_named() -> None:
    graph = GraphConfig.model_validate(config(engine="spark"))
    rate = CheckConfig(kind="null_rate", source="log", column="user", max=0.1)
    rows = CheckConfig(kind="rows", source="log", min=0.5)
    assert [problem.path for problem in check_problems([rows, rate], graph)] == [(1, "kind")]


def test_the_engine_makes_no_other_graph() -> None:
    assert {"engine", "spark"} <= GraphConfig.without_effect


@pytest.mark.parametrize(
    ("master", "message"),
    [
        ("spark://127.0.0.1:1", "no Spark master answers at spark://127.0.0.1:1 (Connection refused)"),
        ("spark://nowhere", "no Spark master answers at spark://nowhere"),
    ],
)
def test_a_master_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, master: str, message: str) -> None:
    pytest.importorskip("pyspark")
    monkeypatch.setattr("partitioning.spark.session._require_installed", lambda: None)  # Java is not asked for yet
    with pytest.raises(ResourceError) as caught, spark_session(SparkConfig(master=master), tmp_path):
        pass
    assert str(caught.value).startswith(f"graph.spark.master: {message}") and "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "home"), [("PATH", None), ("JAVA_HOME", "/nowhere")])
def test_a_missing_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, home: str | None) -> None:
    pytest.importorskip("pyspark")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv(name, home or str(tmp_path))
    with pytest.raises(ConfigError, match=r"graph\.engine: Spark needs Java 17 or newer, and there is no java"):
        spark_session(SparkConfig(), tmp_path).__enter__()


def test_a_missing_pyspark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with pytest.raises(ConfigError, match=r"the package 'pyspark' is not installed; `pip install '\.\[spark\]'`"):
        spark_session(SparkConfig(), tmp_path).__enter__()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("ExecutorLostFailure (executor 1 exited caused by one of the running tasks)", "executors were lost"),
        ("Job aborted due to stage failure: Master removed our application: KILLED", "executors were lost"),
        ("java.lang.OutOfMemoryError: Java heap space\n\tat java.base", "an executor has too little memory"),
        ("java.io.IOException: No space left on device\n\tat java.base", "the disk of an executor is full"),
        ("Cannot call methods on a stopped SparkContext.\nThis stopped", "the connection to Spark is gone; run again"),
    ],
)
def test_what_a_cluster_says_is_one_line(said: str, message: str) -> None:
    errors = pytest.importorskip("pyspark.errors")
    with pytest.raises(ResourceError, match=f"graph.spark: {message}") as caught, translated_spark():
        raise errors.PySparkException(said)
    assert "\n" not in str(caught.value)
