"""The seam of the engine is real: one in plain Python gives the bytes that DuckDB gives."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from partitioning import GraphConfig, build_graph, graph_problems
from partitioning import build as build_module
from partitioning.local_backend import open_local
from tests.worlds.ledger_world import assert_same_bytes
from tests.worlds.python_reader import open_python

USER, PIN = {"type": "user", "column": "user"}, {"type": "pin", "column": "pin"}
SPLITS = {
    "time": {"time": {"valid_from": 70, "test_from": 85}},
    "random": {"random": {"valid": 0.2, "test": 0.1}},
    "none": {},
}


def write_log(root: Path, name: str, seed: int) -> None:
    generator = np.random.default_rng(seed)
    columns = {
        "user": generator.integers(0, 40 * seed, 300),
        "pin": generator.choice(list("abcdefghij"), 300),
        "action": generator.choice(["save", "click", "Zoom", "ärgern"], 300),
        "ts": generator.integers(0, 100, 300),
        "amount": generator.integers(1, 9, 300),
    }
    pd.DataFrame(columns).to_csv(root / name, index=False)


def config(split: str, **click) -> GraphConfig:
    """A relation and its inverse, and a relation for every action."""
    log = {"path": "*.csv", "time_column": "ts", "time_unit": "s", "types": {"amount": "DOUBLE"}}
    raw = {
        "partitions": 3,
        "memory_limit": "1GB",
        "sources": {"log": log},
        "entities": {"user": {}, "pin": {"partitions": 1}},
        "relations": [
            {"name": "saw", "source": "log", "lhs": USER, "rhs": PIN, "inverse": "seen_by", **click},
            {"relation_column": "action", "source": "log", "lhs": PIN, "rhs": USER},
        ],
        "split": SPLITS[split],
    }
    section = GraphConfig.model_validate(raw)
    assert list(graph_problems(section)) == []
    return section


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("click", [{}, {"weight": "amount"}, {"lhs": {**USER, "max_degree": 2}}], ids=str)
def test_another_engine_gives_the_same_bytes(tmp_path: Path, split: str, click: dict) -> None:
    section, previous = config(split, **click), {"duckdb": None, "python": None}
    opened = partial(open_local, open_events=open_python)
    for night in (1, 2):  # the second follows the first
        write_log(tmp_path, f"{night}.csv", night)
        directories = {engine: tmp_path / f"{engine}-{night}" for engine in previous}
        for directory in directories.values():
            directory.mkdir()
        duckdb, python = directories.values()
        report = build_graph(section, tmp_path, duckdb, lambda *step: None, previous["duckdb"])
        other = build_module.build_graph(
            section, tmp_path, python, lambda *step: None, previous["python"], {}, None, opened
        )
        assert report == other
        assert_same_bytes(duckdb, python)
        previous = directories
