"""Trains a partitioned graph: TransRA over PyTorch-BigGraph's partitions, bucket order and checkpoint files."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from artifacts.graph import load_graph
from artifacts.resources import cpu_count
from pbg_transra.backends.backend import Backend, opened
from pbg_transra.backends.choice import chosen_device, make_backend
from pbg_transra.backends.device.room import device_bytes
from pbg_transra.config import ModelConfig
from pbg_transra.evaluation.validator import validation
from pbg_transra.pbg.schema import config_text
from pbg_transra.reports import BucketDone, TrainProgress, TrainReport, ValidationDone
from pbg_transra.start.drift import drift_bound
from pbg_transra.start.first_values import discard_start
from pbg_transra.start.frozen import Frozen, frozen
from pbg_transra.start.initial import random_initial
from pbg_transra.training.checkpoint_files import CheckpointFiles
from pbg_transra.training.edge_files import training_edges
from pbg_transra.training.loop import Loop, capacity_of
from pbg_transra.training.regularization import DegreeDecays
from pbg_transra.training.residency import Residency
from pbg_transra.training.schedule import InOrder
from pbg_transra.training.validation import Validations
from pbg_transra.training.watch import watched


def train(
    graph_dir: Path,
    model_dir: Path,
    config: ModelConfig,
    report: Callable[[TrainProgress], None],
    on_bucket: Callable[[BucketDone], None],
    on_validation: Callable[[ValidationDone], None] = lambda done: None,
) -> TrainReport:
    """Trains into `model_dir`, going on from what it holds. For memory see `capacity_of` and the backend's `open`.

    Raises DataError for a checkpoint of another model, Diverged, and what `chosen_device` does.
    """
    graph = load_graph(graph_dir)
    workers = config.workers or cpu_count()
    schema = config_text(graph, graph_dir, str(model_dir), config, workers)
    (model_dir / "config.json").write_text(schema)  # PBG keeps it there, and in every file
    files = CheckpointFiles(model_dir, {"config/json": schema})
    edges = training_edges(graph_dir, graph, config.edge_chunks)
    if config.regularization:
        edges = replace(edges, decays=DegreeDecays(graph_dir, graph, model_dir))
    start = files.restore()
    resumed = files.passes // config.edge_chunks
    validations = Validations(files, config, validation(graph_dir, config))
    capacity = capacity_of(graph, edges, config)
    bound, held = drift_bound(model_dir, config), frozen(model_dir, graph, config)
    device = chosen_device(config, device_bytes(graph, config, capacity))
    with opened(make_backend(graph, config, workers, device), capacity) as backend:
        restore_relations(files, backend, held)
        residency = Residency(graph, capacity.slots, backend, files, random_initial(graph, config), config.lr, held)
        schedule = InOrder(graph, edges, config.seed)
        told = (on_bucket, on_validation)
        loop = Loop(graph, config, backend, files, edges, schedule, residency, validations, *told, bound, held)
        with watched(backend.counters, loop.edges_left(start), report) as watch:
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


def restore_relations(files: CheckpointFiles, backend: Backend, held: Frozen) -> None:
    """Gives the backend what the newest checkpoint holds. Raises DataError for one of another model."""
    found = files.load_relations(backend.relations())
    if found is not None:
        backend.load_relations(held.held_relations(found))
