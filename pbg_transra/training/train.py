"""Trains a partitioned graph: TransRA over PyTorch-BigGraph's partitions, bucket order and checkpoint files."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from artifacts.formats.graph import Graph, load_graph
from artifacts.machine.resources import cpu_count
from pbg_transra.backends.backend import Backend, opened
from pbg_transra.backends.choice import chosen_device, make_backend
from pbg_transra.backends.device.room import device_bytes
from pbg_transra.config import ModelConfig
from pbg_transra.evaluation.validator import validation
from pbg_transra.pbg.schema import config_text
from pbg_transra.ranks.coordinator import Coordinator
from pbg_transra.ranks.host import Host
from pbg_transra.reports import BucketDone, TrainProgress, TrainReport, ValidationDone
from pbg_transra.start.drift import drift_bound
from pbg_transra.start.first_values import discard_start
from pbg_transra.start.frozen import Frozen, frozen
from pbg_transra.start.initial import random_initial
from pbg_transra.training.checkpoint_files import CheckpointFiles
from pbg_transra.training.edge_files import EdgeFiles, training_edges
from pbg_transra.training.loop import Loop, capacity_of
from pbg_transra.training.regularization import DegreeDecays
from pbg_transra.training.replicas import Replicas
from pbg_transra.training.residency import Residency
from pbg_transra.training.schedule import InOrder, Schedule
from pbg_transra.training.shared_files import SharedFiles
from pbg_transra.training.shared_schedule import FirstSchedule, locked_sides, require_shareable, types_apart
from pbg_transra.training.validation import Validations
from pbg_transra.training.watch import counted_together, watched


def train(
    graph_dir: Path,
    model_dir: Path,
    config: ModelConfig,
    report: Callable[[TrainProgress], None],
    on_bucket: Callable[[BucketDone], None],
    on_validation: Callable[[ValidationDone], None] = lambda done: None,
    host: Host | None = None,
) -> TrainReport:
    """Trains into `model_dir`, going on from what it holds; with a `host`, as rank 0 of several machines. For memory
    see `capacity_of` and the backend's `open`.

    Raises DataError for a checkpoint of another model, Diverged, PeerError, and what `chosen_device` does.
    """
    graph, workers = load_graph(graph_dir), config.workers or cpu_count()
    if host is not None:
        require_shareable(graph, config.dimension, host.place.count)
    schema = config_text(graph, graph_dir, str(model_dir), config, workers)
    (model_dir / "config.json").write_text(schema)  # PBG keeps it there, and in every file
    files = checkpoint_files(model_dir, schema, host)
    edges = edges_of(graph_dir, graph, config, model_dir)
    start = files.restore()
    resumed = files.passes // config.edge_chunks
    validations = Validations(files, config, validation(graph_dir, config))
    bound, held = drift_bound(model_dir, config), frozen(model_dir, graph, config)
    with training_backend(graph, edges, config, workers) as (backend, slots):
        restore_relations(files, backend, held)
        residency = Residency(graph, slots, backend, files, random_initial(graph, config), config.lr, held)
        replicas = Replicas(graph, config.dimension, residency, backend)
        with scheduled(host, graph, edges, config.seed, files, replicas) as (schedule, counters):
            told = (on_bucket, on_validation)
            loop = Loop(graph, config, backend, files, edges, schedule, residency, validations, *told, bound, held)
            with watched(counters, loop.edges_left(start), report) as watch:
                loop.run(start)
    validations.publish_best()
    discard_start(model_dir)
    epochs = max(files.passes // config.edge_chunks, *(each.epoch for each in validations.done), 0)
    scores = [(each.epoch, each.score) for each in validations.done]
    return TrainReport(
        epochs=epochs,
        resumed_epochs=resumed,
        edges_per_second=watch.rate,
        loss=files.mean_loss(config.edge_chunks),
        swap_seconds=loop.swap_seconds,
        stopped_early=epochs < config.epochs,
        best_epoch=validations.best.epoch if validations.best else None,
        validation_mrr=scores if config.validate_by == "mrr" else [],
        validation_retrieval=scores if config.validate_by == "retrieval" else [],
        level=backend.level,
    )


def checkpoint_files(model_dir: Path, schema: str, host: Host | None) -> CheckpointFiles:
    metadata = {"config/json": schema}
    if host is None:
        return CheckpointFiles(model_dir, metadata)
    return SharedFiles(model_dir, metadata, patience=host.place.timeout)


def edges_of(graph_dir: Path, graph: Graph, config: ModelConfig, scratch: Path) -> EdgeFiles:
    """The training edges, with what regularization needs of them."""
    edges = training_edges(graph_dir, graph, config.edge_chunks)
    return replace(edges, decays=DegreeDecays(graph_dir, graph, scratch)) if config.regularization else edges


@contextmanager
def training_backend(
    graph: Graph, edges: EdgeFiles, config: ModelConfig, workers: int
) -> Iterator[tuple[Backend, Mapping[str, int]]]:
    """The backend, open within the block, and its slots by type."""
    capacity = capacity_of(graph, edges, config)
    device = chosen_device(config, device_bytes(graph, config, capacity))
    with opened(make_backend(graph, config, workers, device), capacity) as backend:
        yield backend, capacity.slots


@contextmanager
def scheduled(
    host: Host | None,
    graph: Graph,
    edges: EdgeFiles,
    seed: int,
    files: CheckpointFiles,
    replicas: Replicas,
) -> Iterator[tuple[Schedule, Callable[[], Tensor]]]:
    """The schedule of a training, and what it has trained (see Backend.counters), on other machines, too."""
    if host is None:
        yield InOrder(graph, edges, seed), lambda: replicas.backend.counters
        return
    assert isinstance(files, SharedFiles)
    coordinator = Coordinator(host.place.count, host.place.timeout, types_apart(graph), locked_sides(graph))
    with host.serving(coordinator):
        coordinator.wait_for_all()
        yield (
            FirstSchedule(coordinator, graph, edges, seed, files, replicas),
            lambda: counted_together(replicas.backend.counters, coordinator.counted()),
        )


def restore_relations(files: CheckpointFiles, backend: Backend, held: Frozen) -> None:
    """Gives the backend what the newest checkpoint holds. Raises DataError for one of another model."""
    found = files.load_relations(backend.relations())
    if found is not None:
        backend.load_relations(held.held_relations(found))
