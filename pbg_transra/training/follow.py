"""Trains as any rank but the first: the passes that rank 0 opens, into the checkpoint that it commits."""

from collections.abc import Callable
from pathlib import Path

from artifacts.formats.graph import load_graph
from artifacts.machine.resources import cpu_count
from pbg_transra.config import ModelConfig
from pbg_transra.pbg.schema import config_text
from pbg_transra.ranks.coordinator import Agreement
from pbg_transra.ranks.place import Place
from pbg_transra.reports import BucketDone, FollowReport, TrainProgress
from pbg_transra.start.frozen import frozen
from pbg_transra.start.initial import random_initial
from pbg_transra.training.checkpoint_files import Position
from pbg_transra.training.loop import Loop
from pbg_transra.training.replicas import Replicas
from pbg_transra.training.residency import Residency
from pbg_transra.training.shared_files import Agreed, SharedFiles
from pbg_transra.training.shared_schedule import SharedSchedule
from pbg_transra.training.train import edges_of, training_backend
from pbg_transra.training.validation import Validations
from pbg_transra.training.watch import watched

NOT_YET = -1


def follow(
    graph_dir: Path,
    model_dir: Path,
    config: ModelConfig,
    place: Place,
    agreement: Agreement,
    report: Callable[[TrainProgress], None],
    on_bucket: Callable[[BucketDone], None],
) -> FollowReport:
    """Trains until rank 0 says that the training is over. Raises what `train` does."""
    graph, workers = load_graph(graph_dir), config.workers or cpu_count()
    schema = config_text(graph, graph_dir, str(model_dir), config, workers)
    agreed, buckets, done = Agreed(NOT_YET), 0, NOT_YET
    files = SharedFiles(model_dir, {"config/json": schema}, agreed, place.timeout)
    edges, held = edges_of(graph_dir, graph, config, model_dir), frozen(model_dir, graph, config)

    def trained(done: BucketDone) -> None:
        nonlocal buckets
        buckets += 1
        on_bucket(done)

    with training_backend(graph, edges, config, workers) as (backend, slots):
        residency = Residency(graph, slots, backend, files, random_initial(graph, config), config.lr, held)
        schedule = SharedSchedule(
            place.rank, agreement, graph, files, Replicas(graph, config.dimension, residency, backend)
        )
        none = Validations(files, config, None)
        loop = Loop(
            graph, config, backend, files, edges, schedule, residency, none, trained, lambda done: None,
            frozen=held, rank=place.rank,
        )  # fmt: skip
        with watched(lambda: backend.counters, edges.passes_size(config.passes), report) as watch:
            while (index := schedule.wait_for_pass(done)) is not None:
                agreed.passes = done = index
                loop.run_pass(Position())
    return FollowReport(watch.edges, buckets, watch.rate, loop.swap_seconds)
