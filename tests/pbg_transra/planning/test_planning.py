"""What a training is said to take, against what it takes and against what was measured of the machine."""

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import Tensor

import pbg_transra.backends.tables
from artifacts.errors import ResourceError, TransraError
from artifacts.formats.graph import Bucket, EntityType, Graph, load_graph
from pbg_transra.backends.fused.processor import FusedProcessor
from pbg_transra.config import ModelConfig
from pbg_transra.planning import step_rate
from pbg_transra.planning.calibration import Speed, measure
from pbg_transra.planning.duration import FORK_START, expected_seconds, together
from pbg_transra.planning.memory import FLOAT, disk_of, needs_of
from pbg_transra.planning.plan import plan_training
from pbg_transra.reports import BucketDone
from pbg_transra.start.from_run import adopt_run
from pbg_transra.start.published import PublishedModel
from pbg_transra.training.checkpoint_files import CheckpointFiles
from pbg_transra.training.edge_files import EdgeFiles, training_edges
from pbg_transra.training.train import train
from pipeline.running.expected import told
from tests.worlds.small_graphs import block_graph

CONFIG = ModelConfig(operator="transr", dimension=16, epochs=3, workers=1, batch_size=100, checkpoint_seconds=1e9)
SPEED = Speed(edges=100.0, seconds_per_edge_read=0.0, swapped=1e15, synced=1e15)


@pytest.fixture(scope="module")
def graph_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("graph")
    block_graph(directory, partitions=3, users=6000, pins=6000)
    return directory


@pytest.fixture(scope="module")
def graph(graph_dir: Path) -> Graph:
    return load_graph(graph_dir)


@pytest.fixture(scope="module")
def edges(graph_dir: Path, graph: Graph) -> EdgeFiles:
    return training_edges(graph_dir, graph, 1)


@pytest.mark.parametrize("passes", [1, 3])
@pytest.mark.parametrize("overlap", [True, False])
def test_shared_memory_and_disk_are_what_training_takes(
    graph_dir: Path,
    graph: Graph,
    edges: EdgeFiles,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    overlap: bool,
    passes: int,
) -> None:
    changes = {"overlap": overlap, "epochs": passes, "validate_every": 1, "checkpoint_seconds": 1e-9}
    config = CONFIG.model_copy(update=changes)
    original, shared = pbg_transra.backends.tables.shared_zeros, []
    disk: list[int] = []

    def counted(*shape: int, **options: Any) -> Tensor:
        tensor = original(*shape, **options)
        shared.append(tensor.nbytes)
        return tensor

    monkeypatch.setattr(pbg_transra.backends.tables, "shared_zeros", counted)
    train_looking(graph_dir, tmp_path, config, disk, monkeypatch)
    plan = needs_of(graph, edges, config, 1)
    relations = len(graph.relations) * 2 * config.dimension * (config.dimension + 1) * FLOAT * 2
    assert sum(shared) == plan.shared_memory - relations
    told = disk_of(graph, config, 1.0, begun=False)
    assert 0.5 * told < max(disk) < 1.1 * told


def train_looking(
    graph_dir: Path, model: Path, config: ModelConfig, disk: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trains, and looks at the disk whenever a file has been written aside."""
    original = os.replace

    def replaced(*paths: Any) -> None:
        disk.append(CheckpointFiles(model, {}).bytes)
        original(*paths)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replaced)
        patch.setattr(os, "sync", lambda: None)  # it waits for whatever else writes on the machine
        train(graph_dir, model, config, lambda progress: None, lambda done: None)


def test_a_pass_without_snapshots_before_which_there_is_nothing_takes_one_checkpoint(
    graph_dir: Path, graph: Graph, tmp_path: Path
) -> None:
    config = CONFIG.model_copy(update={"epochs": 1})
    train(graph_dir, tmp_path, config, lambda progress: None, lambda done: None)
    disk = sum(path.stat().st_size for path in tmp_path.rglob("*.h5"))
    assert 0.8 * disk < disk_of(graph, config, 1.0, begun=False) < 1.1 * disk


def test_disk_is_for_all_that_may_lie_there(graph: Graph) -> None:
    whole = replace(graph, entity_types=tuple(EntityType(t.name, (sum(t.counts),)) for t in graph.entity_types))
    one = disk_of(whole, CONFIG.model_copy(update={"epochs": 1}), 1.0, begun=False)

    def copies(one_pass: float = 1.0, begun: bool = False, **changes: object) -> float:
        config = CONFIG.model_copy(update={"epochs": 1, "checkpoint_seconds": 180, **changes})
        return disk_of(whole, config, one_pass, begun) / one

    assert [copies(), copies(begun=True), copies(epochs=2), copies(one_pass=100.0)] == [1, 2, 2, 2]
    assert copies(epochs=2, validate_every=1, one_pass=100.0) == 4
    assert copies(validate_every=1) == 1, "the best is the only one"
    assert copies(warm_start="latest") == copies(start_from="pbg") == 2, "the first values lie there"


@pytest.mark.parametrize("partitions", [1, 6])
@pytest.mark.parametrize("changes", [{}, {"max_drift": 0.001}, {"checkpoint_seconds": 1e-9}])
def test_a_partition_that_is_written_aside_has_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, partitions: int, changes: dict[str, Any]
) -> None:
    """A pass may write one again: it comes back, or is put back to the bound."""
    (graph_dir := tmp_path / "graph").mkdir()
    block_graph(graph_dir, partitions=partitions, users=30_000, pins=30_000)
    (before := tmp_path / "before").mkdir()
    train(graph_dir, before, CONFIG, lambda progress: None, lambda done: None)
    config = CONFIG.model_copy(update={"warm_start": "latest", "epochs": 2, "batch_size": 1000, **changes})
    adopt_run(PublishedModel("r1", graph_dir, before, CONFIG), graph_dir, config, model := tmp_path / "model")
    train_looking(graph_dir, model, config, disk := [], monkeypatch)
    told = disk_of(load_graph(graph_dir), config, 1.0, begun=True)
    assert 0.6 * told < max(disk) < 1.05 * told


class Killed(Exception):
    pass


@pytest.mark.parametrize("seconds", [1e9, 1e-9])
def test_what_an_interrupted_training_has_on_disk_is_not_asked_for_again(
    graph_dir: Path, graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """Also a snapshot, which another machine, or a slower hour, had to take; nor what a restart removes first."""
    monkeypatch.setattr(os, "sync", lambda: None)

    def stop(done: BucketDone) -> None:
        if (done.pass_index, done.bucket) >= (1, Bucket(1, 1)):
            raise Killed

    config = CONFIG.model_copy(update={"checkpoint_seconds": seconds})
    with pytest.raises(Killed):
        train(graph_dir, tmp_path, config, lambda progress: None, stop)
    kept = CheckpointFiles(tmp_path, {})
    assert kept.has_snapshot == (seconds < 1) and kept.bytes > 0
    disk = disk_of(graph, CONFIG, 1.0, begun=True, snapshot=kept.has_snapshot)

    def planned(free: int, restart: bool) -> int:
        usage = SimpleNamespace(free=free)
        monkeypatch.setattr("artifacts.machine.resources.shutil.disk_usage", lambda path: usage)
        return plan_training(graph_dir, CONFIG, None, tmp_path, tmp_path, restart).disk

    for restart, needs in ((False, disk), (True, disk_of(graph, CONFIG, 1.0, begun=False))):
        assert planned(needs - kept.bytes, restart) == needs
        with pytest.raises(ResourceError, match="training needs about"):
            planned(needs - kept.bytes - 1, restart)


def test_memory_grows_with_what_is_resident(graph: Graph, edges: EdgeFiles) -> None:
    def memory(**changes: object) -> int:
        return needs_of(graph, edges, CONFIG.model_copy(update=changes), 1).memory

    assert memory(overlap=False) < memory() < memory(dimension=32)
    assert memory() < memory(validate_every=1)
    assert needs_of(graph, edges, CONFIG, 2).memory > memory()


def test_time_is_that_of_the_edges_that_are_left(graph: Graph, edges: EdgeFiles) -> None:
    def seconds(done: int, speed: Speed = SPEED, **changes: object) -> float:
        return expected_seconds(graph, edges, CONFIG.model_copy(update=changes), 1, speed, done) - FORK_START

    epoch = graph.edges("train") / 100
    assert seconds(0) == pytest.approx(3 * epoch)
    assert seconds(2) == pytest.approx(epoch)
    assert seconds(3) == 0
    assert seconds(0, overlap=False, speed=replace(SPEED, seconds_per_edge_read=0.01)) == pytest.approx(6 * epoch)
    slow_disk = replace(SPEED, synced=16 * 4.0)  # a vector a second: four resident partitions of 2000 at an epoch's end
    assert seconds(2, speed=slow_disk) == pytest.approx(epoch + 8000)
    assert seconds(2, speed=slow_disk, checkpoint_seconds=epoch / 2.5) == pytest.approx(epoch + 3 * 8000)


def test_files_are_hidden_behind_compute_as_far_as_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pbg_transra.planning.duration.cpu_count", lambda: 2)
    assert together(10, 4, overlap=False, workers=1) == 14
    assert together(10, 4, overlap=True, workers=1) == 10
    assert together(10, 4, overlap=True, workers=2) == 12, "no core is free for the thread that swaps"
    assert together(3, 4, overlap=True, workers=1) == 4


def test_what_is_measured_is_measured_side_by_side_and_leaves_nothing(
    graph: Graph, edges: EdgeFiles, tmp_path: Path
) -> None:
    speed = measure(graph, edges, CONFIG, 2, tmp_path)
    assert all(value > 0 for value in vars(speed).values())
    assert not list(tmp_path.iterdir())


def test_nothing_is_measured_for_longer_than_it_would_be_trained(
    graph: Graph, edges: EdgeFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_rate, "SECONDS", 600)
    monkeypatch.setattr(step_rate, "WARM_UP", 600)
    assert measure(graph, edges, CONFIG, 2, tmp_path).edges > 0


def test_a_worker_that_dies_while_it_is_measured_is_said(
    graph: Graph, edges: EdgeFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FusedProcessor, "process", lambda *arguments: os._exit(3))
    with pytest.raises(TransraError, match="ended with status 3"):
        measure(graph, edges, CONFIG, 1, tmp_path)


def test_a_plan_in_words() -> None:
    assert told({"disk_bytes": 3 << 30, "seconds": 3725}) == "disk 3,072 MiB, time 1:02:05"
