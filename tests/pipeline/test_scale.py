"""`transra plan`: what a graph of any size would take, counted as the plan of a real one is."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from artifacts.formats.graph import load_graph
from pbg_transra.config import ExportConfig, ModelConfig
from pbg_transra.planning.calibration import Speed
from pbg_transra.planning.duration import pass_traffic
from pbg_transra.planning.memory import disk_of, needs_of
from pbg_transra.planning.scale import described, largest_bucket, measured, plan_scale, share_of_one, spread
from pbg_transra.reports import ScalePlan
from pbg_transra.training.edge_files import training_edges
from pipeline.scale import parts
from tests.worlds.night_world import transra, workspace_of, write_config, write_day
from tests.worlds.rank_threads import groups_with_categories
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
    told = needs_of(again, spread(again, CONFIG, again.edges("train")), CONFIG, 1)
    assert disk_of(again, CONFIG, 1e3, False) == disk_of(graph, CONFIG, 1e3, False)
    assert told.shared_memory == pytest.approx(real.shared_memory, rel=0.25)
    assert told.memory == pytest.approx(real.memory, rel=0.01)


def test_every_edge_and_entity_is_somewhere(tmp_path: Path) -> None:
    graph = described(block_graph(tmp_path).relations, {"user": 1003, "pin": 77}, 4)
    assert [kind.count for kind in graph.entity_types] == [1003, 77]
    assert sum(spread(graph, CONFIG, graph.edges("train")).counts.values()) == graph.edges("train")


def test_edges_of_a_type_of_one_partition_lie_in_one_column(tmp_path: Path) -> None:
    """As the graph has them; one machine at a time trains there, so more of them gain less."""
    graph_dir = tmp_path / "graph"
    graph_dir.mkdir()
    real = groups_with_categories(graph_dir)
    again = described(real.relations, {kind.name: kind.count for kind in real.entity_types}, 4, ["category"])
    assert again.entity_types == real.entity_types
    edges, told = training_edges(graph_dir, real, 1), spread(again, CONFIG, real.edges("train"))
    assert sum(told.counts.values()) == real.edges("train")
    for bucket, count in edges.counts.items():
        assert told.counts[bucket] == pytest.approx(count, rel=0.1), bucket
    assert told.largest() == pytest.approx(largest_bucket(again), abs=1)
    column = sum(count for bucket, count in edges.counts.items() if bucket.rhs == 0) / real.edges("train")
    assert share_of_one(again, 4) == pytest.approx(column, rel=0.02)
    split = described(real.relations, {kind.name: kind.count for kind in real.entity_types}, 4)
    assert (share_of_one(split, 2), share_of_one(split, 4), share_of_one(again, 1)) == (0.5, 0.25, 1)


def test_a_type_of_one_partition_is_planned_as_such(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = ("--edges", "1e9", "--entities", "1e8", "--machines", "8")
    config = json.loads((world / "c.json").read_text())
    split = plan(world, capsys, *size)
    config["graph"]["entities"]["pin"] = {"partitions": 1}
    (world / "c.json").write_text(json.dumps(config))
    assert transra(world, "plan", *size) == 65
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("transra: graph.entities.pin.partitions: 1, and its ")
    assert "at most 258,111 in all types of one partition with model.dimension 64; expected none there" in line
    found = plan(world, capsys, "--edges", "1e9", "--entities", "1e5", "--machines", "8")
    assert found["partitions"] == split["partitions"]
    assert found["stages"]["train"]["seconds"] < split["stages"]["train"]["seconds"] * 1.2, "heads are shared out"
    assert transra(world, "plan", "--edges", "1e9", "--entities", "1e5", "--machines", "8") == 0
    assert f"{found['partitions']} partitions of each type, one of pin" in capsys.readouterr().out


def test_the_speed_is_measured_on_edges_that_are_made_up(tmp_path: Path) -> None:
    (tmp_path / "g").mkdir()
    graph = described(block_graph(tmp_path / "g").relations, {"user": 9000, "pin": 900}, 2)
    one = described([replace(graph.relations[0], edges={"train": 1})], {"user": 1, "pin": 1}, 4)
    for size in (graph, one):
        found = measured(size, CONFIG, 1, tmp_path)
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
        pass_traffic(again, spread(again, CONFIG, 100), CONFIG, 0) > 0
        and shared["network"]["bytes_per_pass"] > 1e8 * 4 * 64
    )


def test_relations_that_a_column_names_are_those_of_the_graph(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So many of them that flags of their ends do not fit, and lie in files."""
    size = ("--edges", "1e8", "--entities", "2e7", "--set", "graph.memory_limit=1GB")
    one = plan(world, capsys, *size)["stages"]["partition"]["disk_bytes"]
    for path in (world / "log").iterdir():
        log = pd.read_parquet(path)
        log.assign(kind=[f"kind {row % 13}" for row in range(len(log))]).to_parquet(path)
    config = json.loads((world / "c.json").read_text())
    del config["graph"]["relations"][0]["name"]
    config["graph"]["relations"][0]["relation_column"] = "kind"
    (world / "c.json").write_text(json.dumps(config))
    assert transra(world, "partition", "--quiet") == 0
    assert plan(world, capsys, *size)["stages"]["partition"]["disk_bytes"] >= one + 2 * 8 * 1e8


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
        ("--edges", "-5", "--entities", "1"),
        ("--edges", "5", "--entities", "inf"),
        ("--edges", "5", "--entities", "0"),
        ("--edges", "1e16", "--entities", "5"),
    ],
)
def test_what_is_no_number_of_things_is_refused(
    world: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        transra(world, "plan", *words)
    assert ended.value.code == 2
    assert "expected a whole number from 1 to 1e15, such as 1e10" in capsys.readouterr().err


@pytest.mark.parametrize("machines", ["0", "-1", "1025", "inf", "nan", "1.5", "1e3", "9" * 99])
def test_a_number_of_machines_that_cannot_be_is_refused(
    world: Path, machines: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        transra(world, "plan", "--edges", "5", "--entities", "5", "--machines", machines)
    assert ended.value.code == 2
    assert "expected a whole number from 1 to 1024" in capsys.readouterr().err


@pytest.mark.parametrize("size", [("1", "1"), ("5", "10"), ("5e8", "1e9"), ("1e15", "10")])
@pytest.mark.parametrize("machines", ["1", "1024"])
def test_the_smallest_and_the_largest_have_a_plan(
    world: Path,
    size: tuple[str, str],
    machines: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    edges, entities = size
    monkeypatch.setattr("pbg_transra.planning.scale.WALKED", 16)  # else a grid of 65,536 buckets is walked
    words = ("--edges", edges, "--entities", entities, "--machines", machines)
    found = plan(world, capsys, *words)
    assert found["partitions"] >= 4 * int(machines) or machines == "1"
    assert transra(world, "plan", *words) == 0


@pytest.mark.parametrize("size", [("1", "3"), ("5", "11"), ("5", "1e9"), ("4e14", "1e15")])
def test_entities_that_no_edge_can_have_are_refused(
    world: Path, size: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each is an end of an edge; twice as many as edges have a plan, as `("5", "10")` above."""
    edges, entities = (int(float(one)) for one in size)
    assert transra(world, "plan", "--edges", size[0], "--entities", size[1]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"transra: plan: --entities {entities:,} are more than the {2 * edges:,} ends of --edges {edges:,}, and each "
        f"is one of an edge; lower --entities"
    )


def test_what_fits_on_no_machine_is_refused(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert transra(world, "plan", "--edges", "1e15", "--entities", "1e15") == 73
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("transra: plan: with 4,096 partitions, which is the most, training takes ")


def test_a_large_grid_takes_the_time_of_its_buckets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a part of them, which is walked, to a few percent."""
    monkeypatch.setattr("pbg_transra.planning.scale.measured", lambda *of: MEASURED)
    relations, entities = block_graph(tmp_path).relations, {"user": 10**6, "pin": 10**6}

    def planned(walked: int) -> ScalePlan:
        monkeypatch.setattr("pbg_transra.planning.scale.WALKED", walked)
        many = [replace(relation, edges={**relation.edges, "train": 10**8}) for relation in relations]
        return plan_scale(many, entities, CONFIG, ExportConfig(), 16, 10**12, tmp_path)

    whole, part = planned(64), planned(32)
    assert part.traffic == pytest.approx(whole.traffic, rel=0.05)
    assert part.seconds == pytest.approx(whole.seconds, rel=0.05)


@pytest.mark.parametrize("total", [1, 5, 10**15])
def test_parts_add_up(total: int) -> None:
    for shares in ([1.0], [1 / 3] * 3, [0.0, 1.0], [1e-9] * 7 + [1 - 7e-9], [1 / 13] * 13):
        found = parts(total, shares)
        assert sum(found) == total and min(found) >= 0


def test_without_a_graph_types_and_relations_have_equal_parts(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for run in workspace_of(world).runs():
        run.path.rename(world / "away")
    found = plan(world, capsys, "--edges", "1e8", "--entities", "1e7")
    assert found["stages"]["train"]["seconds"] > 0
    workspace_of(world).path.rename(world / "gone")
    assert transra(world, "plan", "--edges", "1e8", "--entities", "1e7") == 2
    assert "expected a workspace to measure in" in capsys.readouterr().err
