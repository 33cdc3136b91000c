"""The training loop: passes over buckets, with what comes next loading and what went before saving behind the work."""

import random
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from torchbiggraph.bucket_scheduling import create_ordered_buckets
from torchbiggraph.config import BucketOrder

from artifacts.graph import Bucket, Graph, Side
from pbg_transra.backends.divergence import located, require_finite
from pbg_transra.backends.reference import Processor
from pbg_transra.config import ModelConfig
from pbg_transra.pbg.compat import seed_of
from pbg_transra.pbg.embedder import TransRAEmbedder
from pbg_transra.training.checkpoint_files import CheckpointFiles, Position
from pbg_transra.training.edge_files import EdgeFiles
from pbg_transra.training.learning_rates import Rates, rates_at
from pbg_transra.training.residency import Residency, needed
from pbg_transra.training.tables import EdgeBuffer
from pbg_transra.training.workers import Task, Workers

SEGMENT = 4_000_000  # edges between two looks at the clock: a bucket may be larger than what may be lost


@dataclass(frozen=True)
class BucketDone:
    """What training a bucket gave. `loss` is per edge; `waited`: seconds that the workers stood still for files.

    `lr`: of entity vectors, at its begin. `trained`: edges of the whole training so far, those of earlier commands too.
    """

    pass_index: int
    bucket: Bucket
    edges: int
    loss: float
    seconds: float
    waited: float
    lr: float
    trained: int


def bucket_order(graph: Graph, edges: EdgeFiles, seed: int) -> list[Bucket]:
    """The buckets that have edges, in PBG's order, which depends on the seed only."""
    sides = graph.partitions_on(Side.LHS), graph.partitions_on(Side.RHS)
    buckets = create_ordered_buckets(*sides, BucketOrder.INSIDE_OUT, generator=random.Random(seed))
    return [Bucket(*bucket) for bucket in buckets if edges.counts[Bucket(*bucket)]]


@dataclass
class Loop:
    """Trains pass after pass; `run_pass` is called once for each that is left."""

    graph: Graph
    config: ModelConfig
    model: TransRAEmbedder
    processor: Processor
    files: CheckpointFiles
    edges: EdgeFiles
    buffers: list[EdgeBuffer]
    residency: Residency
    workers: Workers
    on_bucket: Callable[[BucketDone], None]
    _ahead: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="swap"))
    _committed_at: float = field(default_factory=time.monotonic)

    def run_pass(self, start: Position) -> None:
        """Trains the rest of the pass that is being made, from `start`, and commits it."""
        index, position = self.files.passes, start
        self._committed_at = time.monotonic()
        order = bucket_order(self.graph, self.edges, seed_of(self.config.seed, index))
        ready = self._prepare(order, start.buckets)
        for number in range(start.buckets, len(order)):
            with located(self.epoch, order[number]):
                began = time.perf_counter()
                ready.result()
                waited = time.perf_counter() - began
                following = self._prepare(order, number + 1, order[number]) if self.config.overlap else None
                position = self._train(order[number], number, following, position, waited)
                ready = following or self._prepare(order, number + 1)
        with located(self.epoch, order[-1]):
            ready.result()
            self._commit_pass(position)

    @property
    def epoch(self) -> int:
        """The one that is being trained, counted from 1."""
        return self.files.passes // self.edges.chunks + 1

    def _prepare(self, order: list[Bucket], number: int, in_use: Bucket | None = None) -> Future[int]:
        """Loads a bucket's partitions and edges in the thread that works ahead; the future tells the edges."""

        def load() -> int:
            if number >= len(order):
                return 0
            bucket = order[number]
            self.residency.bring(needed(self.graph, bucket), needed(self.graph, in_use) if in_use else ())
            chunk, seed = self.files.passes % self.edges.chunks, self._seed(number)
            return self.edges.load(bucket, chunk, seed, self._buffer(number))

        return self._ahead.submit(load)

    def _seed(self, number: int, edge: int = 0) -> int:
        return seed_of(self.config.seed, self.files.passes, number, edge)

    def _buffer(self, number: int) -> EdgeBuffer:
        return self.buffers[number % len(self.buffers)]

    def _train(
        self, bucket: Bucket, number: int, following: Future[int] | None, position: Position, waited: float
    ) -> Position:
        """Trains what is left of a bucket, a segment at a time, and takes a snapshot when it is due."""
        count = self.edges.size(bucket, self.files.passes % self.edges.chunks)
        first, lr, began = position, self._rates(position).entities, time.perf_counter()
        self.residency.mark(needed(self.graph, bucket))
        while position.edges < count:
            end = min(count, position.edges + SEGMENT)
            buffer, seed = number % len(self.buffers), self._seed(number, end)
            places, rates = self.residency.places(self.graph, bucket), self._rates(position)
            self.workers.start(Task(places, buffer, position.edges, end, seed, rates))
            stats = self.workers.finish()
            loss = position.total_loss + stats.metrics.get("loss", 0.0)
            position = Position(number, end, position.total_edges + stats.count, loss)
            if time.monotonic() - self._committed_at > self.config.checkpoint_seconds:
                waited += self._snapshot(position, following)
        seconds = time.perf_counter() - began
        if edges := position.total_edges - first.total_edges:  # a snapshot may have been taken at the bucket's end
            loss = (position.total_loss - first.total_loss) / edges
            trained = self.edges.passes_size(self.files.passes) + position.total_edges
            self.on_bucket(BucketDone(self.files.passes, bucket, edges, loss, seconds, waited, lr, trained))
        return replace(position, buckets=number + 1, edges=0)

    def _rates(self, position: Position) -> Rates:
        """The learning rates of a segment that begins at a position; passes count alike."""
        of_pass = position.total_edges / max(1, self.edges.pass_size(self.files.passes))
        return rates_at(self.config, (self.files.passes + of_pass) / self.config.passes)

    def _snapshot(self, position: Position, following: Future[int] | None) -> float:
        """Saves everything trained so far as the point to go on from; returns the seconds that it took."""
        began = time.perf_counter()
        if following is not None:
            following.result()
        self._save()
        self.files.snapshot(position)
        self._committed_at = time.monotonic()
        return time.perf_counter() - began

    def _commit_pass(self, done: Position) -> None:
        self._save()
        self.residency.load_unseen()
        self.files.commit_pass(done)

    def _save(self) -> None:
        for relation, operator in zip(self.graph.relations, self.model.rhs_operators, strict=True):
            for name, parameter in operator.named_parameters():
                require_finite(f"the {name} of relation '{relation.name}'", parameter.detach())
        self.residency.save_all()
        self.files.save_model(self.model.state_dict(), self.processor.global_optimizer.state_dict())
