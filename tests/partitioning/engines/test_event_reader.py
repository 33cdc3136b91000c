"""The seam of the engine is real: one in plain Python gives the bytes that DuckDB gives."""

from functools import partial
from pathlib import Path

import pytest

from partitioning import GraphConfig, build_graph, graph_problems
from partitioning import build as build_module
from partitioning.engines.local_backend import open_local
from tests.worlds.action_log import SPLITS, USER, log_config, write_log
from tests.worlds.ledger_world import assert_same_bytes
from tests.worlds.python_reader import open_python


def section_of(split: str, **click) -> GraphConfig:
    raw = log_config("*.csv", SPLITS[split], {"types": {"amount": "DOUBLE"}}, **click)
    section = GraphConfig.model_validate(raw)
    assert list(graph_problems(section)) == []
    return section


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("click", [{}, {"weight": "amount"}, {"lhs": {**USER, "max_degree": 2}}], ids=str)
def test_another_engine_gives_the_same_bytes(tmp_path: Path, split: str, click: dict) -> None:
    section, previous = section_of(split, **click), {"duckdb": None, "python": None}
    opened = partial(open_local, open_events=open_python)
    for night in (1, 2):  # the second follows the first
        write_log(tmp_path / f"{night}.csv", night)
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
