"""A build on Spark makes the bytes that DuckDB makes."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from partitioning import GraphConfig, GraphReport, build_graph, graph_problems
from tests.worlds.ledger_world import assert_same_bytes
from tests.worlds.spark_session import spark_of_tests

USER, PIN = {"type": "user", "column": "user"}, {"type": "pin", "column": "pin"}
SPLITS = {
    "time": {"time": {"valid_from": 70, "test_from": 85, "until": 95}},
    "random": {"random": {"valid": 0.2, "test": 0.1}},
    "none": {},
}


@pytest.fixture(scope="module", autouse=True)
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One session for all builds: a build uses the one that the process has."""
    with spark_of_tests(tmp_path_factory.mktemp("spark")):
        yield


def built(root: Path, raw: dict, name: str, previous: Path | None = None) -> GraphReport:
    section = GraphConfig.model_validate({"memory_limit": "1GB", **raw})
    assert list(graph_problems(section)) == []
    (root / name).mkdir()
    return build_graph(section, root, root / name, lambda *step: None, previous)


def both(root: Path, raw: dict, previous: Path | None = None, name: str = "") -> GraphReport:
    """Builds with both engines and compares."""
    report = built(root, raw, f"duckdb{name}", previous)
    assert built(root, {**raw, "engine": "spark"}, f"spark{name}", previous) == report
    assert_same_bytes(root / f"duckdb{name}", root / f"spark{name}")
    return report


def write_log(root: Path, name: str, seed: int) -> None:
    generator = np.random.default_rng(seed)
    columns = {
        "user": generator.integers(0, 40 * seed, 300),
        "pin": generator.choice(list("abcdefghij"), 300),
        "action": generator.choice(["save", "click", "Zoom", "ärgern"], 300),
        "ts": generator.integers(0, 100, 300),
        "amount": generator.integers(1, 9, 300) / 7,
    }
    pd.DataFrame(columns).to_parquet(root / name)


def config(split: str, **click) -> dict:
    """A relation and its inverse, and a relation for every action."""
    return {
        "partitions": 3,
        "sources": {"log": {"path": "*.parquet", "time_column": "ts", "time_unit": "s"}},
        "entities": {"user": {}, "pin": {"partitions": 1}},
        "relations": [
            {"name": "saw", "source": "log", "lhs": USER, "rhs": PIN, "inverse": "seen_by", **click},
            {"relation_column": "action", "source": "log", "lhs": PIN, "rhs": USER},
        ],
        "split": SPLITS[split],
    }


def test_weights_and_a_published_map(tmp_path: Path) -> None:
    raw = config("time", weight="amount", half_life_days=0.0003, where="action <> 'save'")
    for night in (1, 2):
        write_log(tmp_path, f"{night}.parquet", night)
        both(tmp_path, raw, tmp_path / "duckdb1" if night == 2 else None, str(night))


def test_neither_times_nor_weights(tmp_path: Path) -> None:
    write_log(tmp_path, "1.parquet", 1)
    both(tmp_path, config("none"))
