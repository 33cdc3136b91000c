"""Swapping: slots, checkpoint files and snapshots; and vectors do not depend on interruptions or overlap."""

import os
from dataclasses import replace
from pathlib import Path
from typing import cast

import h5py
import numpy as np
import pytest
import torch
from torchbiggraph.checkpoint_manager import CheckpointManager

import pbg_transra.training.train
from artifacts.errors import DataError, TransraError
from artifacts.formats.graph import Bucket, Graph, edge_path, load_graph
from pbg_transra.backends.backend import Capacity, Rates, Segment
from pbg_transra.backends.edges import Edges
from pbg_transra.backends.processor import Processor
from pbg_transra.backends.tables import Ends, shared_edges
from pbg_transra.backends.workers import Bench, Workers
from pbg_transra.config import ModelConfig
from pbg_transra.ranks.coordinator import BucketReport
from pbg_transra.reports import BucketDone
from pbg_transra.start.initial import random_initial
from pbg_transra.training.checkpoint_files import CheckpointFiles, Position
from pbg_transra.training.edge_files import EdgeFiles, training_edges
from pbg_transra.training.residency import Residency, needed, slots_of
from pbg_transra.training.schedule import InOrder
from pbg_transra.training.train import train
from tests.worlds.copying_backend import CopyingBackend
from tests.worlds.small_graphs import Triples, block_graph, write_graph

CONFIG = ModelConfig(anchors=("click",), dimension=8, scale=10, epochs=3, workers=1, batch_size=100)


def vectors_of(model_dir: Path, graph: Graph) -> dict[str, np.ndarray]:
    """Read through PBG's own checkpoint manager."""
    manager = CheckpointManager(str(model_dir))
    found = {}
    for kind in graph.entity_types:
        for part in range(kind.partitions):
            found[f"{kind.name}_{part}"] = manager.read(kind.name, part)[0].numpy()
    return found


def trained(graph_dir: Path, model_dir: Path, config: ModelConfig = CONFIG) -> dict[str, np.ndarray]:
    model_dir.mkdir(exist_ok=True)
    train(graph_dir, model_dir, config, lambda progress: None, lambda bucket: None)
    return vectors_of(model_dir, load_graph(graph_dir))


@pytest.fixture(scope="module")
def graph_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("graph")
    block_graph(directory, partitions=4)
    return directory


@pytest.fixture(scope="module")
def uninterrupted(graph_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    return trained(graph_dir, tmp_path_factory.mktemp("model"))


def assert_equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_overlap_changes_nothing_but_memory(
    graph_dir: Path, uninterrupted: dict[str, np.ndarray], tmp_path: Path
) -> None:
    off = CONFIG.model_copy(update={"overlap": False})
    assert_equal(trained(graph_dir, tmp_path / "m", off), uninterrupted)
    graph = load_graph(graph_dir)
    assert [slots_of(graph, "user", overlap) for overlap in (True, False)] == [2, 1]


class Killed(Exception):
    pass


@pytest.mark.parametrize("bucket", [0, 15, 40])
def test_a_training_stopped_anywhere_ends_as_if_it_had_not_been(
    graph_dir: Path, uninterrupted: dict[str, np.ndarray], tmp_path: Path, bucket: int
) -> None:
    """A snapshot after every segment; stopped after so many buckets (a pass has sixteen), then begun again."""
    config = CONFIG.model_copy(update={"checkpoint_seconds": 1e-9})
    seen = []

    def stop(done: object) -> None:
        seen.append(done)
        if len(seen) > bucket:
            raise Killed

    model_dir = tmp_path / "m"
    model_dir.mkdir()
    with pytest.raises(Killed):
        train(graph_dir, model_dir, config, lambda progress: None, stop)
    assert_equal(trained(graph_dir, model_dir, config), uninterrupted)
    assert not list(model_dir.glob("resume*"))
    assert {path.name.split(".")[-2] for path in model_dir.glob("*.h5")} == {"v3"}


def test_a_type_on_both_sides_needs_twice_the_slots(tmp_path: Path) -> None:
    rows = np.arange(40)
    edges = [Triples("like", "train", rows, rows[::-1].copy())]
    graph = write_graph(tmp_path, {"node": [10, 10, 10, 10]}, {"like": ("node", "node")}, edges)
    assert [slots_of(graph, "node", overlap) for overlap in (True, False)] == [4, 2]
    config = ModelConfig(operator="transr", dimension=4, epochs=1, workers=1)
    found = trained(tmp_path, tmp_path / "m", config)
    assert all(np.isfinite(vectors).all() for vectors in found.values())
    assert len({vectors.tobytes() for vectors in found.values()}) == 4, "no partition was mixed up with another"


def test_a_partition_without_an_edge_is_kept_as_it_began(tmp_path: Path) -> None:
    edges = [Triples("like", "train", np.arange(5), np.arange(5))]
    write_graph(tmp_path, {"user": [5, 5], "pin": [5, 5]}, {"like": ("user", "pin")}, edges)
    config = ModelConfig(operator="transr", dimension=4, epochs=2, workers=1)
    once = trained(tmp_path, tmp_path / "m1", config.model_copy(update={"epochs": 1}))
    twice = trained(tmp_path, tmp_path / "m2", config)
    np.testing.assert_array_equal(once["user_1"], twice["user_1"])
    assert not np.array_equal(once["user_0"], twice["user_0"])


def residency(graph: Graph, model_dir: Path, slots: int) -> tuple[Residency, CopyingBackend]:
    backend = CopyingBackend(graph, CONFIG, 1)
    capacity = Capacity({kind.name: slots for kind in graph.entity_types}, 1, 1)
    backend.open(capacity)
    files = CheckpointFiles(model_dir, {})
    return Residency(graph, capacity.slots, backend, files, random_initial(graph, CONFIG), CONFIG.lr), backend


def test_what_gives_way_is_saved_first(graph_dir: Path, tmp_path: Path) -> None:
    holder, backend = residency(load_graph(graph_dir), tmp_path, slots=2)
    holder.bring([("user", 0), ("user", 1)])
    backend.load(holder.resident(("user", 1)), lambda vectors, sums: (vectors.fill_(7), sums.fill_(3)))
    holder.mark([("user", 1)])
    holder.bring([("user", 2)], in_use=[("user", 0)])
    assert holder.resident(("user", 2)).slot != holder.resident(("user", 0)).slot
    holder.bring([("user", 1)])
    vectors, sums = backend.read(holder.resident(("user", 1)))
    assert vectors.eq(7).all() and sums.eq(3).all()


@pytest.mark.parametrize("processor", ["fused", pytest.param("reference", marks=pytest.mark.slow)])
def test_a_backend_that_copies_trains_the_same(
    graph_dir: Path,
    uninterrupted: dict[str, np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    processor: str,
) -> None:
    """Nothing but the backend knows where vectors and edges lie, so that a device may have memory of its own."""
    config = CONFIG.model_copy(update={"processor": processor, "checkpoint_seconds": 1e-9})
    expected = uninterrupted if processor == "fused" else trained(graph_dir, tmp_path / "shared", config)
    monkeypatch.setattr(pbg_transra.training.train, "make_backend", lambda *given: CopyingBackend(*given[:3]))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert_equal(trained(graph_dir, tmp_path / "m", config), expected)
    finally:
        torch.set_num_threads(threads)


class TwoMachines(InOrder):
    """Another machine has every other bucket."""

    def __init__(self, graph: Graph, edges: EdgeFiles, seed: int) -> None:
        super().__init__(graph, edges, seed)
        self.held: list[Bucket] = []
        self.done: list[Bucket] = []

    def acquire(self) -> Bucket | None:
        super().acquire()
        if (bucket := super().acquire()) is not None:
            self.held.append(bucket)
        return bucket

    def release(self, report: BucketReport) -> None:
        bucket = report.bucket
        assert self.held[len(self.done)] == bucket, "buckets are released in the order in which they were acquired"
        assert len(self.held) - len(self.done) <= 2, "one is trained, and one is loaded ahead"
        self.done.append(bucket)


def test_the_schedule_says_which_buckets_are_trained(
    graph_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedules: list[TwoMachines] = []

    def make(graph: Graph, edges: EdgeFiles, seed: int) -> TwoMachines:
        schedules.append(TwoMachines(graph, edges, seed))
        return schedules[-1]

    monkeypatch.setattr(pbg_transra.training.train, "InOrder", make)
    done: list[BucketDone] = []
    train(graph_dir, tmp_path, CONFIG.model_copy(update={"epochs": 1}), lambda progress: None, done.append)
    assert len(done) == 8, "of sixteen"
    assert [bucket.bucket for bucket in done] == schedules[0].done == schedules[0].held


def test_first_vectors_depend_on_the_partition_and_not_on_the_order(graph_dir: Path, tmp_path: Path) -> None:
    draws = []
    for order in ((0, 1), (1, 0)):
        holder, backend = residency(load_graph(graph_dir), tmp_path, slots=2)
        for part in order:
            holder.bring([("user", part)])
        draws.append([backend.read(holder.resident(("user", part)))[0] for part in (0, 1)])
    assert torch.equal(draws[0][0], draws[1][0])
    assert not torch.equal(draws[0][0], draws[0][1])
    assert float(torch.cat(draws[0]).std()) == pytest.approx(CONFIG.init_scale, rel=0.2)


def test_first_vectors_do_not_repeat_a_block(tmp_path: Path) -> None:
    """PBG's block is 1,000,003 numbers long."""
    graph = write_graph(tmp_path, {"n": [2_000_006]}, {"r": ("n", "n")}, [])
    vectors = torch.empty(2_000_006, 1)
    random_initial(graph, CONFIG).fill("n", 0, vectors, torch.empty(2_000_006))
    vectors = vectors.flatten()
    assert not torch.equal(vectors[:1_000_003], vectors[1_000_003:])


def test_needed_names_partition_0_for_what_is_not_split(tmp_path: Path) -> None:
    graph = write_graph(tmp_path, {"user": [2, 2], "topic": [3]}, {"likes": ("user", "topic")}, [])
    assert list(needed(graph, Bucket(1, 0))) == [("user", 1), ("topic", 0)]


def test_edges_come_shuffled_by_seed_and_whole(graph_dir: Path) -> None:
    graph = load_graph(graph_dir)
    edges = training_edges(graph_dir, graph, chunks=3)
    bucket = Bucket(1, 2)
    parts = [loaded_edges(edges, bucket, chunk, 5) for chunk in range(3)]
    with h5py.File(edge_path(graph_dir, "train") / "edges_1_2.h5") as file:
        expected = np.stack([file["lhs"][...], file["rhs"][...], file["rel"][...]])
    found = torch.cat(parts, 1).numpy()
    assert sorted(map(tuple, found.T)) == sorted(map(tuple, expected.T))
    assert not torch.equal(parts[0], loaded_edges(edges, bucket, 0, 6))


def loaded_edges(files: EdgeFiles, bucket: Bucket, chunk: int, seed: int) -> torch.Tensor:
    """Heads, tails and relations (3, E)."""
    into = shared_edges(files.largest(), weighted=True, regularized=False)[: files.size(bucket, chunk)]
    files.load(bucket, chunk, seed, into)
    assert into.weights is not None
    assert into.weights.eq(1).all(), "a relation without weights has ones"
    return torch.stack([into.heads, into.tails, into.relations])


def test_snapshot_and_pass(tmp_path: Path) -> None:
    files = CheckpointFiles(tmp_path, {"note": "x"})
    vectors, sums = torch.full((3, 2), 1.0), torch.ones(3)

    def loaded() -> float:
        into = torch.zeros(3, 2), torch.zeros(3)
        assert files.load("user", 0, *into)
        return float(into[0][0, 0])

    files.save("user", 0, vectors, sums, 0.1)
    position = Position(2, 100, 300, 1.5)
    files.snapshot(position)
    files.save("user", 0, vectors * 2, sums, 0.1)
    assert loaded() == 2.0
    assert files.restore() == position
    assert loaded() == 1.0
    files.save("user", 0, vectors * 3, sums, 0.1)
    files.commit_pass(Position(0, 0, 400, 2.0))
    assert files.mean_loss(1) == 0.005
    assert (files.passes, files.restore(), loaded()) == (1, Position(), 3.0)
    with h5py.File(tmp_path / "embeddings_user_0.v1.h5") as file:
        assert file.attrs["note"] == "x"
    with pytest.raises(DataError, match="expected \\(4, 2\\)"):
        files.load("user", 0, torch.zeros(4, 2), torch.zeros(4))
    (tmp_path / "checkpoint_version.txt").write_text("")
    with pytest.raises(DataError, match="found '', expected the number"):
        assert files.passes


class Faulty:
    """A processor that fails, or whose process dies, where the edges begin with row 13 or 66."""

    start_method, worker = "fork", 0

    def process(self, edges: Edges, ends: Ends, rates: Rates) -> None:
        if int(edges.heads[0]) == 66:
            os._exit(3)
        raise DataError("relation 'click' diverged")


@pytest.mark.parametrize(("row", "error", "text"), [(13, DataError, "diverged"), (66, TransraError, "status 3")])
def test_what_goes_wrong_in_a_worker_reaches_the_command(row: int, error: type, text: str) -> None:
    buffer = shared_edges(4, weighted=False, regularized=False)
    buffer.heads.fill_(row)
    with Workers(2, Bench(cast(Processor, Faulty()), {}, [buffer])) as team:
        pending = team.train(Segment((), (), 0, 0, 4, 0, Rates(0.1, 0.1)))
        with pytest.raises(error, match=text):
            pending.result()


def test_a_checkpoint_of_another_model_is_refused(graph_dir: Path, tmp_path: Path) -> None:
    trained(graph_dir, tmp_path / "m")
    other = replace_config(operator="transr", anchors=())
    with pytest.raises(
        DataError, match="another model: relation 0, parameter 'projection': found nothing, expected .64,."
    ):
        trained(graph_dir, tmp_path / "m", other)


def replace_config(**changes: object) -> ModelConfig:
    return ModelConfig(**{**CONFIG.model_dump(), **changes, "epochs": 4})


def test_positions_are_plain_numbers() -> None:
    assert replace(Position(), buckets=1) == Position(1, 0, 0, 0.0)
