"""Side information that no split holds out, and rows that another source has, too."""

from pathlib import Path

import pandas as pd
import pytest

from artifacts.errors import ConfigError
from artifacts.formats.graph import load_graph
from partitioning import GraphConfig, GraphReport, build_graph
from tests.partitioning.test_errors import PIN, check, config, failure, problems, relation

SIDE = relation(name="about", source="table", domain="side", lhs=PIN, rhs={"type": "topic", "column": "topic"})


def build(root: Path, raw: dict) -> GraphReport:
    (root / "graph").mkdir()
    return build_graph(GraphConfig.model_validate(raw), root, root / "graph", lambda step, fraction: None)


def write(root: Path) -> dict:
    """Ten clicks and ten facts on ten days."""
    days = range(10)
    pd.DataFrame({"user": days, "pin": days, "ts": days}).to_parquet(root / "log.parquet")
    pd.DataFrame({"pin": days, "topic": days, "ts": days}).to_parquet(root / "table.parquet")
    timed = {"time_column": "ts", "time_unit": "s"}
    return config(
        sources={name: {"path": f"{name}.parquet", **timed} for name in ("log", "table")},
        entities={"user": {}, "pin": {}, "topic": {}},
        relations=[relation(), SIDE],
    )


@pytest.mark.parametrize(
    "split", [{"time": {"valid_from": 4, "test_from": 6, "until": 8}}, {"random": {"valid": 0.4, "test": 0.4}}]
)
def test_side_information_is_trained_on_whole(tmp_path: Path, split: dict) -> None:
    raw = write(tmp_path)
    raw["relations"][1] = {**SIDE, "split": False, "inverse": "has"}
    build(tmp_path, {**raw, "split": split})
    graph = load_graph(tmp_path / "graph")
    edges = {relation.name: relation.edges for relation in graph.relations}
    assert edges["about"] == edges["has"] == {"train": 10, "valid": 0, "test": 0}
    assert edges["click"]["test"] > 0
    if "time" in split:
        assert graph.window == (0, 3), "facts of later days are not what the ranker must fear"


def test_only_side_information_is_trained_on_whole() -> None:
    raw = config(relations=[relation(split=False)])
    assert problems(raw) == [
        (("relations", 0, "split"), "only side information may be in training for good; this relation is onsite")
    ]


@pytest.mark.parametrize("ids", [{}, {"ids": {"hash": "hmac-sha256", "key_env": "KEY"}}])
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_rows_of_another_source_are_left_out(
    tmp_path: Path, suffix: str, ids: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row goes where all columns are alike, as often as it is there; so do rows without a value."""
    monkeypatch.setenv("KEY", "0123456789abcdef")
    rows = pd.DataFrame({"user": [1, 1, 2, 3], "pin": ["a", "a", "b", "c"], "shop": ["x", "x", None, "z"]})
    listed = pd.DataFrame({"pin": ["a", "b", "c"], "user": [1, 2, 3], "shop": ["x", None, "y"]})
    for name, frame in (("log", rows), ("valid", listed)):
        frame.to_parquet(tmp_path / f"{name}.parquet") if suffix == "parquet" else frame.to_csv(
            tmp_path / f"{name}.csv", index=False
        )
    sources = {"log": {"path": f"log.{suffix}"}, "valid": {"path": f"valid.{suffix}", "split": "valid"}}
    both = [
        relation(source="log", without={"source": "valid", "columns": ["user", "pin", "shop"]}),
        relation(name="held", source="valid"),
    ]
    report = build(tmp_path, config(sources=sources, relations=both, **ids))
    assert report.edges_by_split == {"train": 1, "valid": 3, "test": 0}
    assert report.removed == {"click": {"log": 3}}


def test_what_was_removed_is_counted_by_source(tmp_path: Path) -> None:
    """Rows that `where` would have kept, of each source, of an inverse not again; none by an empty list."""
    for name, users in (("log", [1, 1, 2, 3]), ("more", [1, 4]), ("valid", [1, 3, 9]), ("none", [])):
        pd.DataFrame({"user": users, "pin": "a"}, dtype=object).to_csv(tmp_path / f"{name}.csv", index=False)
    sources = {name: {"path": f"{name}.csv"} for name in ("log", "more", "valid", "none")}
    both = [
        relation(
            source=["log", "more"], where="user <> '3'", inverse="of", without={"source": "valid", "columns": ["user"]}
        ),
        relation(name="all", source="log", without={"source": "none", "columns": ["user"]}),
        relation(name="rest", source="log"),
    ]
    report = build(tmp_path, config(sources=sources, relations=both))
    assert report.removed == {"click": {"log": 2, "more": 1}, "all": {"log": 0}}


def test_rows_are_compared_in_one_type(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user,pin,ts\n1,a,10\n")
    (tmp_path / "valid.csv").write_text("user,pin,ts\n1,a,1970-01-01T00:00:10\n")
    sources = {
        "log": {"path": "log.csv", "time_column": "ts", "time_unit": "s"},
        "valid": {"path": "valid.csv", "time_column": "ts"},
    }
    without = {"source": "valid", "columns": ["user", "ts"]}
    error = failure(tmp_path, config(sources=sources, relations=[relation(source="log", without=without)]))
    check(error, ConfigError, "graph.relations[0].without.columns: 'ts' is BIGINT in source 'log', but TIMESTAMP")
    (tmp_path / "graph").rmdir()
    missing = {"source": "valid", "columns": ["usr"]}
    error = failure(tmp_path, config(sources=sources, relations=[relation(source="log", without=missing)]))
    assert "no column 'usr'" in str(error)


def test_a_relation_is_not_taken_from_itself() -> None:
    raw = config(relations=[relation(without={"source": "log", "columns": ["user"]})])
    assert [path for path, _ in problems(raw)] == [("relations", 0, "without", "source")]
