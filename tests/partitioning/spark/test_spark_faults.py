"""Spark beside DuckDB where something is wrong: tasks that fail change no byte, and a wrong row is the same line."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from artifacts.errors import ResourceError
from pipeline.cli import main
from tests.partitioning.spark.test_spark import both, every_feature
from tests.partitioning.test_errors import config, log, relation
from tests.partitioning.test_meaning import least, pairs, rows, write_meaning
from tests.worlds.partitioning_meaning import meaning_config
from tests.worlds.spark_session import spark_of_tests


@pytest.fixture(scope="module", autouse=True)
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with spark_of_tests(tmp_path_factory.mktemp("spark")):
        yield


@pytest.mark.slow
def test_tasks_that_are_killed_or_fail_are_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.worlds.failing_tasks import let_first_tasks_fail

    (marks := tmp_path / "marks").mkdir()
    let_first_tasks_fail(monkeypatch, marks)
    both(tmp_path, every_feature(tmp_path, 1, "time"))
    kinds = ("survey", "ListRows", "EventRows", "place", "Places", "put", "make", "count")
    assert {mark.name for mark in marks.iterdir()} == {f"{k} {f}" for k in kinds for f in ("killed", "failing")}


def fail(fault: Callable[[], None], item: int) -> None:
    fault()


@pytest.mark.parametrize(
    ("fault", "message"),
    [("killed", r"a Python worker of an executor died"), ("full", r"the disk of an executor is full")],
)
def test_what_fails_each_time_is_one_line(fault: str, message: str) -> None:
    from pyspark.sql import SparkSession

    from partitioning.spark.session import each, translated_spark
    from tests.worlds import failing_tasks

    active = SparkSession.getActiveSession()
    assert active
    with pytest.raises(ResourceError, match=f"graph.spark: {message}") as caught, translated_spark():
        each(active, partial(fail, getattr(failing_tasks, fault)), [1])
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@settings(
    max_examples=3,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(events=rows, ads=pairs, degree=least, cap=least)
def test_drawn_logs(
    tmp_path_factory: pytest.TempPathFactory, events: list, ads: set, degree: int | None, cap: int | None
) -> None:
    root = tmp_path_factory.mktemp("drawn")
    write_meaning(root, events, ads, {("user", "1"), ("user", "nobody")})
    both(root, meaning_config(3, {"click lhs": cap}, {"user": degree}))


PEOPLE = {"source": "people", "type": "user", "column": "who", "answer": "said", "yes": ["yes"], "no": ["no"]}
ASKED = {
    "sources": {"log": {"path": "*.parquet", "time_column": "ts", "time_unit": "s"}, "people": {"path": "people.csv"}},
    "relations": [relation(domain="offsite")],
    "consent": PEOPLE,
}
FORGET = {"sources": {**ASKED["sources"], "gone": {"path": "gone.csv"}}, "forget": {"source": "gone"}}
# The second file of a log, and what else the config says.
WRONG: dict[str, tuple[dict, dict]] = {
    "an id": ({"pin": ["a", None, "c"]}, {}),
    "a relation": ({"kind": ["x", None, "y"]}, {"relations": [relation(name=None, relation_column="kind")]}),
    "a unit of time": ({"ts": [10, 1_760_000_000_000, 30]}, {}),
    "a time": ({"ts": pd.array([10, None, 30], "Int64")}, {}),
    "a weight": ({"kind": ["1", "-1", "2"]}, {"relations": [relation(weight="CAST(kind AS DOUBLE)")]}),
    "a cast": ({"pin": ["1", "2", "x"]}, {"relations": [relation(where="CAST(pin AS INTEGER) > 0")]}),
    "two answers": ({}, {**ASKED, "people": "who,said\n1,yes\n2,yes\n2,no\n"}),
    "an answer": ({}, {**ASKED, "people": "who,said\n1,yes\n2,perhaps\n"}),
    "an id to forget": ({}, {**FORGET, "people": "who,said\n1,yes\n", "gone": "type,id\nuser,1\nusr,2\n"}),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_row_is_named_as_by_duckdb(tmp_path: Path, wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    columns, changes = WRONG[wrong]
    tables = {name: changes[name] for name in ("people", "gone") if name in changes}
    for name, text in tables.items():
        (tmp_path / f"{name}.csv").write_text(text)
    sources = {"log": {"path": "*.parquet", "time_column": "ts", "time_unit": "s"}}
    graph = config(**{"sources": sources, **{key: value for key, value in changes.items() if key not in tables}})
    (tmp_path / "c.json").write_text(json.dumps({"graph": graph}))
    log(pin=["1", "2", "3"], kind=["1", "2", "3"]).to_parquet(tmp_path / "a.parquet")
    log(**{"kind": ["1", "2", "3"], **columns}).to_parquet(tmp_path / "b.parquet")
    said = [refused(tmp_path, engine, capsys) for engine in ("duckdb", "spark")]
    assert said[0] == said[1] and said[0].count("\n") == 1
    assert ".csv" in said[0] if tables else "b.parquet, row " in said[0]


def test_a_wrong_line_is_named_as_by_duckdb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sources = {"log": {"path": "*.csv", "time_column": "ts", "time_unit": "s"}}
    (tmp_path / "c.json").write_text(json.dumps({"graph": config(sources=sources)}))
    (tmp_path / "a.csv").write_text("user,pin,ts\n1,a,10\n")
    for text, where in (("1,a,10\n2,b,soon\n", "b.csv, row 2"), ("1,a,10\n2,b\n", "b.csv, line 3")):
        (tmp_path / "b.csv").write_text(f"user,pin,ts\n{text}")
        said = [refused(tmp_path, engine, capsys) for engine in ("duckdb", "spark")]
        assert said[0] == said[1] and said[0].count("\n") == 1 and where in said[0]


def test_weights_that_count_alike_are_refused_as_by_duckdb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, amount in (("a", 1e-30), ("b", 1e-9)):
        log(amount=[amount] * 3).to_parquet(tmp_path / f"{name}.parquet")
    sources = {"log": {"path": "*.parquet"}}
    graph = config(sources=sources, relations=[relation(weight="amount")])
    (tmp_path / "c.json").write_text(json.dumps({"graph": graph}))
    said = [refused(tmp_path, engine, capsys) for engine in ("duckdb", "spark")]
    assert said[0] == said[1] and "no weight of 'click' is above 9e-08" in said[0]


def refused(root: Path, engine: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command says on stderr; its exit code must be 65."""
    place = ["--root", str(root), "--workspace", str(root / engine)]
    assert main(["partition", str(root / "c.json"), *place, "--quiet", "--set", f"graph.engine={engine}"]) == 65
    return capsys.readouterr().err
