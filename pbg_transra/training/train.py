"""Trains a partitioned graph: TransRA over PyTorch-BigGraph's partitions, bucket order and checkpoint files."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from artifacts.graph import load_graph
from artifacts.resources import cpu_count
from pbg_transra.backends.fused.processor import FusedProcessor
from pbg_transra.backends.reference import Processor, ReferenceProcessor
from pbg_transra.config import ModelConfig
from pbg_transra.evaluation.report import Validator
from pbg_transra.pbg.embedder import TransRAEmbedder, make_embedder
from pbg_transra.pbg.schema import pbg_config
from pbg_transra.training.checkpoint_files import CheckpointFiles
from pbg_transra.training.edge_files import training_edges
from pbg_transra.training.loop import BucketDone
from pbg_transra.training.training import Training, restore_model, shared_memory
from pbg_transra.training.validation import ValidationDone, Validations
from pbg_transra.training.watch import TrainProgress, watched


@dataclass(frozen=True)
class TrainReport:
    """What training did. `edges_per_second` counts from the first batch: starting the workers is not training, nor is
    validation.

    `epochs` were trained, `loss` is that of the last one. `swap_seconds`: the workers stood still so long, waiting for
    partitions, edges and checkpoints. `validation_mrr`: pairs of epoch and MRR; the model is that of `best_epoch`.
    """

    epochs: int
    resumed_epochs: int
    edges_per_second: float
    loss: float
    swap_seconds: float
    stopped_early: bool
    best_epoch: int | None
    validation_mrr: list[tuple[int, float]]


def train(
    graph_dir: Path,
    model_dir: Path,
    config: ModelConfig,
    report: Callable[[TrainProgress], None],
    on_bucket: Callable[[BucketDone], None],
    on_validation: Callable[[ValidationDone], None] = lambda done: None,
) -> TrainReport:
    """Trains into `model_dir`, going on from what it holds. For memory see `Training.run`."""
    graph = load_graph(graph_dir)
    workers = config.workers or cpu_count()
    schema = json.dumps(pbg_config(graph, graph_dir, str(model_dir), config, workers).to_dict(), indent=4)
    (model_dir / "config.json").write_text(schema)  # PBG keeps it there, and in every file
    files = CheckpointFiles(model_dir, {"config/json": schema})
    start = files.restore()
    validations = Validations(files, config, Validator(graph_dir, config).mrr if config.validate_every else None)
    with shared_memory(config):
        model = make_embedder(graph, config)
        processor = make_processor(model, config, workers)
        model.share_memory()  # only now: the fused processor has made one tensor of many parameters
        restore_model(files, model, processor)
        edges = training_edges(graph_dir, graph, config.edge_chunks)
        training = Training(graph, config, model, processor, files, edges, validations, on_bucket, on_validation)
        resumed = files.passes // config.edge_chunks
        with watched(processor, training.edges_left(start), report) as watch:
            training.run(start, workers)
    validations.publish_best()
    epochs = max(files.passes // config.edge_chunks, *(each.epoch for each in validations.done), 0)
    return TrainReport(
        epochs=epochs,
        resumed_epochs=resumed,
        edges_per_second=watch.rate,
        loss=files.mean_loss(config.edge_chunks),
        swap_seconds=training.swap_seconds,
        stopped_early=epochs < config.epochs,
        best_epoch=validations.best.epoch if validations.best else None,
        validation_mrr=[(each.epoch, each.mrr) for each in validations.done],
    )


def make_processor(model: TransRAEmbedder, config: ModelConfig, workers: int) -> Processor:
    return (FusedProcessor if config.fused else ReferenceProcessor)(model, config, workers)
