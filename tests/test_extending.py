"""docs/extending.md: its examples work as they stand, and what they say of operator, source and backend is so."""

from pathlib import Path
from typing import Any

import pytest

import pbg_transra.training.train
from artifacts.formats.graph import load_graph
from tests.worlds.pages import BLOCK, REPOSITORY
from tests.worlds.small_graphs import block_graph

PAGE = REPOSITORY / "docs/extending.md"


@pytest.fixture
def run_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the example that holds a text, in an empty root with a graph, and returns its names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pbg_transra.training.train, "make_backend", pbg_transra.training.train.make_backend)

    def run(text: str) -> dict[str, Any]:
        (code,) = (code for language, code in BLOCK.findall(PAGE.read_text()) if language == "python" and text in code)
        names: dict[str, Any] = {}
        exec(compile(code, str(PAGE), "exec"), names)
        return names

    return run


def test_the_operator_learns(run_example: Any) -> None:
    names = run_example("ScaledOperator")
    assert names["loss"].item() < 0.1
    assert (names["operator"].factors.detach() - 1).abs().min() > 0 and names["operator"].translation.abs().max() > 0


def test_the_source_becomes_edges(run_example: Any) -> None:
    assert run_example("access.log")["report"].edges == 70
    graph = load_graph(Path("graph"))
    assert {kind.name: sum(kind.counts) for kind in graph.entity_types} == {"user": 7, "ad": 5}


def test_the_backend_is_given_every_edge(run_example: Any, tmp_path: Path) -> None:
    (tmp_path / "runs/demo/latest/graph").mkdir(parents=True)
    block_graph(tmp_path / "runs/demo/latest/graph", partitions=1)
    names = run_example("CountingBackend")
    (backend,) = names["made"]
    graph = load_graph(tmp_path / "runs/demo/latest/graph")
    trained = sum(one.end - one.begin for one in backend.segments)
    assert trained == 2 * sum(relation.edges["train"] for relation in graph.relations)
    assert names["report"].epochs == 2
