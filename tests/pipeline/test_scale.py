"""`transra plan`: what a graph of any size would take, counted as the plan of a real one is."""

import json
from pathlib import Path
from typing import Any

import pytest

from artifacts.graph import load_graph
from pbg_transra.config import ModelConfig
from pbg_transra.planning.calibration import Speed
from pbg_transra.planning.duration import pass_traffic
from pbg_transra.planning.memory import needs_of
from pbg_transra.planning.scale import described, measured, spread
from pbg_transra.training.edge_files import training_edges
from tests.worlds.night_world import transra, workspace_of, write_config, write_day
from tests.worlds.small_graphs import block_graph

MEASURED = Speed(edges=1e6, seconds_per_edge_read=1e-7, swapped=1e9, synced=5e8)
CONFIG = ModelConfig(operator="transr", dimension=16, epochs=2, workers=1)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A graph on a machine whose speeds are known."""
    monkeypatch.setattr("pbg_transra.planning.scale.measured", lambda *of: MEASURED)
    monkeypatch.setattr("partitioning.expectation._build_seconds", lambda edges, ids, threads: edges / 1e6)
    write_day(tmp_path, 1)
    write_config(tmp_path, {"epochs": 2, "dimension": 64})
    assert transra(tmp_path, "partition", "--quiet") == 0
    return tmp_path


def plan(root: Path, capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    capsys.readouterr()
    assert transra(root, "plan", *words, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_a_described_graph_needs_what_a_real_one_does(tmp_path: Path) -> None:
    """But for buckets that are not of one size."""
    graph = block_graph(tmp_path, partitions=4, users=400, pins=400)
    real = needs_of(graph, training_edges(tmp_path, graph, 1), CONFIG, 1)
    again = described(graph.relations, {kind.name: kind.count for kind in graph.entity_types}, 4)
    told = needs_of(again, spread(again, CONFIG), CONFIG, 1)
    assert told.disk == real.disk
    assert told.shared_memory == pytest.approx(real.shared_memory, rel=0.25)
    assert told.memory == pytest.approx(real.memory, rel=0.01)


def test_every_edge_and_entity_is_somewhere(tmp_path: Path) -> None:
    graph = described(block_graph(tmp_path).relations, {"user": 1003, "pin": 77}, 4)
    assert [kind.count for kind in graph.entity_types] == [1003, 77]
    assert sum(spread(graph, CONFIG).counts.values()) == graph.edges("train")


def test_the_speed_is_measured_on_edges_that_are_made_up(tmp_path: Path) -> None:
    (tmp_path / "g").mkdir()
    graph = described(block_graph(tmp_path / "g").relations, {"user": 9000, "pin": 900}, 2)
    found = measured(graph, CONFIG, 1, tmp_path)
    assert min(found.edges, found.seconds_per_edge_read, found.swapped, found.synced) > 0
    assert {path.name for path in tmp_path.iterdir()} == {"g"}


def test_more_is_more_and_machines_share_it(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = plan(world, capsys, "--edges", "1e8", "--entities", "1e7")
    large = plan(world, capsys, "--edges", "1e9", "--entities", "1e8")
    shared = plan(world, capsys, "--edges", "1e9", "--entities", "1e8", "--machines", "8")
    for stage in ("partition", "train", "export"):
        for key in ("disk_bytes", "seconds"):
            assert large["stages"][stage][key] > 5 * small["stages"][stage][key], (stage, key)
    assert shared["partitions"] >= 4 * 8 and large["partitions"] >= small["partitions"]
    alone, of_eight = large["stages"]["train"], shared["stages"]["train"]
    assert alone["seconds"] / 10 < of_eight["seconds"] < alone["seconds"] / 4
    assert alone["seconds"] > 2 * 1e9 / MEASURED.edges, "two epochs at the speed that was measured"
    assert of_eight["memory_bytes"] < alone["memory_bytes"]
    graph = load_graph(workspace_of(world).runs()[0].directory("partition"))
    again = described(graph.relations, {"user": 10, "pin": 10}, 1)
    assert (
        pass_traffic(again, spread(again, CONFIG), CONFIG, 0) > 0 and shared["network"]["bytes_per_pass"] > 1e8 * 4 * 64
    )


def test_a_plan_makes_nothing(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(path.name for path in workspace_of(world).path.iterdir())
    assert transra(world, "plan", "--edges", "1e10", "--entities", "1e9", "--machines", "8") == 0
    said = capsys.readouterr().out
    assert "10,000,000,000 edges, 1,000,000,000 entities, 8 machines like this one" in said
    assert "network: " in said
    assert sorted(path.name for path in workspace_of(world).path.iterdir()) == before


@pytest.mark.parametrize(
    "words",
    [
        ("--edges", "1.5", "--entities", "10"),
        ("--edges", "0", "--entities", "10"),
        ("--edges", "nan", "--entities", "1"),
    ],
)
def test_what_is_no_number_of_things_is_refused(
    world: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        transra(world, "plan", *words)
    assert ended.value.code == 2
    assert "expected a whole number from 1 to 1e15, such as 1e10" in capsys.readouterr().err


def test_without_a_graph_types_and_relations_have_equal_parts(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for run in workspace_of(world).runs():
        run.path.rename(world / "away")
    found = plan(world, capsys, "--edges", "1e8", "--entities", "1e7")
    assert found["stages"]["train"]["seconds"] > 0
    workspace_of(world).path.rename(world / "gone")
    assert transra(world, "plan", "--edges", "1e8", "--entities", "1e7") == 2
    assert "expected a workspace to measure in" in capsys.readouterr().err
