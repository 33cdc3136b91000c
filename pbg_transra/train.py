"""Trains a partitioned graph with PyTorch-BigGraph's partition swapping and HOGWILD workers."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torchbiggraph.train
from torchbiggraph.config import ConfigSchema

from artifacts.errors import TransraError
from artifacts.graph import Graph, edge_path, load_graph
from artifacts.resources import cpu_count
from pbg_transra.compat import SCHEME, prepare_worker, seamed, seed_of
from pbg_transra.config import ModelConfig
from pbg_transra.embedder import entity_schemas, make_embedder, relation_schemas
from pbg_transra.processor import ReferenceProcessor, read_counters


@dataclass(frozen=True)
class TrainProgress:
    """Where training is: edges of this command, seconds since its first batch, mean loss per edge of late."""

    edges: int
    total_edges: int
    seconds: float
    loss: float


@dataclass(frozen=True)
class TrainReport:
    """What training did. `edges_per_second` counts from the first batch: starting the workers is not training."""

    epochs: int
    resumed_epochs: int
    edges_per_second: float
    loss: float


def pbg_config(
    graph: Graph, graph_dir: Path, checkpoint_path: str, model: ModelConfig, workers: int | None
) -> ConfigSchema:
    """Our config in PBG's words."""
    return ConfigSchema(
        entities=entity_schemas(graph),
        relations=relation_schemas(graph, model),
        entity_path=str(graph_dir),
        edge_paths=[str(edge_path(graph_dir, "train"))],
        checkpoint_path=checkpoint_path,
        dimension=model.dimension,
        init_scale=model.init_scale,
        global_emb=False,
        comparator=model.similarity,
        loss_fn=model.loss,
        margin=model.margin,
        num_epochs=model.epochs,
        num_edge_chunks=model.edge_chunks,
        workers=workers,
        batch_size=model.batch_size,
        num_batch_negs=model.batch_negatives,
        num_uniform_negs=model.uniform_negatives,
        lr=model.lr,
        relation_lr=model.relation_lr,
        eval_fraction=0,  # PBG would withhold the same edges for ever; `evaluate` reads the valid split
        hogwild_delay=0,  # it only postpones the second worker
    )


def train(
    graph_dir: Path, model_dir: Path, config: ModelConfig, report: Callable[[TrainProgress], None]
) -> TrainReport:
    """Trains into `model_dir`, going on from the checkpoint that it holds.

    Memory: two partitions of every type (vectors, D * 4 bytes a row, and their sums), and the edges of one bucket's
    chunk (about 100 bytes each while they are copied to the workers). Neither grows with the number of partitions.
    """
    graph = load_graph(graph_dir)
    workers = config.workers or cpu_count()
    schema = pbg_config(graph, graph_dir, f"{SCHEME}://{model_dir}", config, workers)
    model = make_embedder(graph, config)
    processor = ReferenceProcessor(model, config, workers)
    passes_done = passes_committed(model_dir)
    torch.manual_seed(seed_of(config.seed, passes_done))
    total = graph.edges("train") * (config.epochs * config.edge_chunks - passes_done) // config.edge_chunks
    with seamed(config.seed), watched(processor, total, report) as watch:
        run = torchbiggraph.train.train_and_report_stats(
            schema, model, processor, subprocess_init=partial(prepare_worker, config.seed, workers)
        )
        losses = [(stats.count, stats.metrics["loss"]) for _, _, stats, _ in run if stats.count]
    buckets = max(1, len(losses) // max(1, config.epochs * config.edge_chunks))
    last = losses[-buckets * config.edge_chunks :]
    return TrainReport(
        epochs=config.epochs,
        resumed_epochs=passes_done // config.edge_chunks,
        edges_per_second=watch.rate,
        loss=sum(count * loss for count, loss in last) / max(1, sum(count for count, _ in last)),
    )


def passes_committed(model_dir: Path) -> int:
    """Passes over all buckets (edge chunks) that the checkpoint holds."""
    version = model_dir / "checkpoint_version.txt"
    return int(version.read_text() or 0) if version.exists() else 0


class Watch:
    """Reads the workers' counters and reports them."""

    def __init__(self, processor: ReferenceProcessor, total: int, report: Callable[[TrainProgress], None]) -> None:
        self._counters = processor.counters
        self._total = total
        self._report = report
        self._before = (0.0, 0.0)
        self.rate = 0.0

    def look(self) -> None:
        edges, loss, seconds = read_counters(self._counters)
        if edges <= self._before[0]:
            return
        recent = (loss - self._before[1]) / (edges - self._before[0])
        self._before = (edges, loss)
        self.rate = edges / seconds
        self._report(TrainProgress(int(edges), self._total, seconds, recent))


@contextmanager
def watched(processor: ReferenceProcessor, total: int, report: Callable[[TrainProgress], None]) -> Iterator[Watch]:
    """Watches the workers from a thread while PBG's loop blocks; a dead worker becomes one clear line."""
    watch, done = Watch(processor, total, report), threading.Event()

    def loop() -> None:
        while not done.wait(0.5):
            watch.look()

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield watch
    except RuntimeError as error:
        if "subprocess exited unexpectedly" not in str(error):
            raise
        raise TransraError(f"a training process died ({error}); the same command goes on") from error
    finally:
        done.set()
        thread.join()
        watch.look()
