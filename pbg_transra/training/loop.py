"""The training loop: passes over buckets, with what comes next loading and what went before saving behind the work."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from artifacts.formats.graph import Bucket, Graph, Side
from pbg_transra.backends.backend import Backend, Capacity, Pending, Rates, Segment, Trained
from pbg_transra.backends.divergence import located, require_finite
from pbg_transra.backends.processor import leave_out_
from pbg_transra.config import VALIDATION_METRICS, ModelConfig
from pbg_transra.ranks.coordinator import BucketReport
from pbg_transra.reports import BucketDone, ValidationDone
from pbg_transra.seeds import seed_of
from pbg_transra.start.drift import DriftBound
from pbg_transra.start.frozen import Frozen
from pbg_transra.training.checkpoint_files import CheckpointFiles, Position
from pbg_transra.training.edge_files import EdgeFiles
from pbg_transra.training.learning_rates import rates_at
from pbg_transra.training.residency import Residency, needed, slots_by_type
from pbg_transra.training.schedule import Schedule
from pbg_transra.training.validation import Validations

LOOK_SECONDS = 1.0  # at other machines, while a segment trains


def capacity_of(graph: Graph, edges: EdgeFiles, config: ModelConfig) -> Capacity:
    """Room for the slots of every type (at most 4 of its partitions, 2 with `overlap` off) and for the edges of two
    chunks of a bucket. Neither grows with the number of partitions."""
    return Capacity(slots_by_type(graph, config.overlap), 2 if config.overlap else 1, edges.largest())


@dataclass
class Loop:
    """Trains the passes that are left."""

    graph: Graph
    config: ModelConfig
    backend: Backend
    files: CheckpointFiles
    edges: EdgeFiles
    schedule: Schedule
    residency: Residency
    validations: Validations
    on_bucket: Callable[[BucketDone], None]
    on_validation: Callable[[ValidationDone], None]
    bound: DriftBound | None = None
    frozen: Frozen = field(default_factory=Frozen)
    rank: int = 0
    swap_seconds: float = 0.0
    _ahead: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="swap"))
    _committed_at: float = field(default_factory=time.monotonic)

    def run(self, start: Position) -> None:
        """Goes on from `start`, a position in the pass that is being made."""
        self._validate()  # a kill may have come between a commit and its validation
        while not self._finished:
            self.run_pass(start)
            start = Position()
            self._validate()

    def edges_left(self, start: Position) -> int:
        """Edges that `run` will train."""
        done = self.edges.passes_size(self.files.passes) + start.total_edges
        return max(0, self.edges.passes_size(self.config.passes) - done)

    @property
    def epoch(self) -> int:
        """The one that is being trained, counted from 1."""
        return self.files.passes // self.edges.chunks + 1

    @property
    def _finished(self) -> bool:
        return self.files.passes >= self.config.passes or self.validations.over

    def run_pass(self, start: Position) -> None:
        """Trains the rest of the pass that is being made, from `start`, and commits it where that is done here."""
        self._committed_at = time.monotonic()
        self.schedule.begin(self.files.passes, start.buckets)
        position, last, ready = start, Bucket(0, 0), self._prepare(start.buckets)
        while (taken := self._take(ready)) is not None:
            number, (last, waited) = position.buckets, taken
            following = self._prepare(number + 1, last) if self.config.overlap else None
            with located(self.epoch, last):
                position = self._train(last, number, following, position, waited)
            ready = following or self._prepare(number + 1)
        with located(self.epoch, last):
            self._commit_pass(position)

    def _take(self, ready: "Future[Bucket | None]") -> tuple[Bucket, float] | None:
        """The bucket that is ready, and the seconds that it was waited for; None at the end of the pass."""
        began = time.perf_counter()
        bucket = ready.result()
        return None if bucket is None else (bucket, time.perf_counter() - began)

    def _prepare(self, number: int, in_use: Bucket | None = None) -> "Future[Bucket | None]":
        """Acquires the next bucket, the `number`-th of the pass, and loads its partitions and edges, in the thread that
        works ahead. `in_use`: the bucket that is trained meanwhile."""
        return self._ahead.submit(self._load, number, in_use)

    def _load(self, number: int, in_use: Bucket | None) -> Bucket | None:
        bucket = self.schedule.acquire()
        if bucket is None:
            return None
        with located(self.epoch, bucket):
            self.residency.bring(needed(self.graph, bucket), needed(self.graph, in_use) if in_use else ())
            chunk, seed = self._chunk, self._seed(number)
            count = self.edges.size(bucket, chunk)
            self.backend.put_edges(self._buffer(number), count, lambda into: self.edges.load(bucket, chunk, seed, into))
        return bucket

    @property
    def _chunk(self) -> int:
        return self.files.passes % self.edges.chunks

    def _seed(self, number: int, edge: int = 0) -> int:
        """Of what is drawn; another one on each machine."""
        return seed_of(self.config.seed, self.files.passes, number, edge, *([self.rank] if self.rank else []))

    def _buffer(self, number: int) -> int:
        return number % (2 if self.config.overlap else 1)

    def _train(
        self, bucket: Bucket, number: int, following: "Future[Bucket | None] | None", position: Position, waited: float
    ) -> Position:
        """Trains what is left of a bucket, a segment at a time, and takes a snapshot when it is due."""
        count = self.edges.size(bucket, self._chunk)
        first, lr, began = position, self._rates(position).entities, time.perf_counter()
        self.residency.mark(needed(self.graph, bucket))
        while position.edges < count:
            end = min(count, position.edges + self.schedule.segment)
            trained = self._trained(self.backend.train(self._segment(bucket, number, position, end)))
            edges, loss = position.total_edges + trained.edges, position.total_loss + trained.loss
            position = Position(number, end, edges, loss)
            self.schedule.between_segments()
            overdue = time.monotonic() - self._committed_at > self.config.checkpoint_seconds
            if overdue and self.schedule.snapshots:
                waited += self._snapshot(position, following)
        edges, loss = position.total_edges - first.total_edges, position.total_loss - first.total_loss
        report = BucketReport(bucket, edges, loss, time.perf_counter() - began, waited)
        self.swap_seconds += waited
        self.schedule.release(report)
        for each in (report, *self.schedule.news()):
            self._tell(each, lr, position)
        return replace(position, buckets=number + 1, edges=0)

    def _trained(self, pending: Pending) -> Trained:
        while not pending.wait(LOOK_SECONDS):
            self.schedule.look()
        return pending.result()

    def _tell(self, report: BucketReport, lr: float, position: Position) -> None:
        if not report.edges:  # a chunk may have none, and a snapshot may have been taken at the bucket's end
            return
        trained = self.edges.passes_size(self.files.passes) + position.total_edges + self.schedule.elsewhere()
        loss = report.loss / report.edges
        seconds = report.seconds, report.waited
        self.on_bucket(BucketDone(self.files.passes, report.bucket, report.edges, loss, *seconds, lr, trained))

    def _segment(self, bucket: Bucket, number: int, position: Position, end: int) -> Segment:
        heads, tails = (self.residency.on(bucket, side) for side in Side)
        seed, rates = self._seed(number, end), self._rates(position)
        return Segment(heads, tails, self._buffer(number), position.edges, end, seed, rates)

    def _rates(self, position: Position) -> Rates:
        """The learning rates of a segment that begins at a position; passes count alike."""
        trained = position.total_edges + self.schedule.elsewhere()
        of_pass = trained / max(1, self.edges.pass_size(self.files.passes))
        return rates_at(self.config, (self.files.passes + of_pass) / self.config.passes)

    def _snapshot(self, position: Position, following: "Future[Bucket | None] | None") -> float:
        """Saves everything trained so far as the point to go on from; returns the seconds that it took."""
        began = time.perf_counter()
        if following is not None:
            following.result()
        self._save()
        self.files.snapshot(position)
        self._committed_at = time.monotonic()
        return time.perf_counter() - began

    def _commit_pass(self, position: Position) -> None:
        done = self.schedule.end(position)
        if done is None:
            return
        for each in self.schedule.news():
            self._tell(each, self._rates(position).entities, position)
        self._save()
        self.residency.load_unseen()
        if self.bound is not None:
            self.residency.hold(self.bound)
        self.files.commit_pass(done)

    def _save(self) -> None:
        relations = self.backend.relations()
        for (index, name), parameter in relations.parameters.items():
            require_finite(f"the {name} of relation '{self.graph.relations[index].name}'", parameter)
        self.residency.save_all()
        self.files.save_relations(self.frozen.restored_relations(relations), self.config.relation_lr)

    def _validate(self) -> None:
        began = time.perf_counter()
        found, best = self.validations.validate(), self.validations.best
        if found is not None and best is not None:
            seconds, trained = time.perf_counter() - began, self.edges.passes_size(self.files.passes)
            leave_out_(self.backend.counters, seconds)
            metric = VALIDATION_METRICS[self.config.validate_by]
            self.on_validation(ValidationDone(found.epoch, metric, found.score, best.epoch, seconds, trained))
