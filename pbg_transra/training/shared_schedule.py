"""The schedule of one of several machines: PBG's locks say which bucket it may train."""

import time
from threading import Lock
from typing import ClassVar

from artifacts.errors import DataError
from artifacts.formats.graph import Bucket, Graph, Side
from pbg_transra.backends.processor import read_counters
from pbg_transra.ranks.coordinator import Agreement, BucketReport, Coordinator, Turn
from pbg_transra.ranks.shared_values import SharedValues
from pbg_transra.seeds import seed_of
from pbg_transra.training.checkpoint_files import Position
from pbg_transra.training.edge_files import EdgeFiles
from pbg_transra.training.replicas import Replicas, require_exchangeable
from pbg_transra.training.residency import needed
from pbg_transra.training.schedule import bucket_order
from pbg_transra.training.shared_files import SharedFiles

SEGMENT = 250_000  # edges: what machines share moves between segments
WAIT_SECONDS = 0.02  # for a bucket, a pass, or the others


def split_types(graph: Graph, side: Side) -> set[str]:
    """Types on a side whose partitions one rank holds at a time."""
    return {kind.name for kind in graph.types_on(side) if kind.partitions > 1}


def types_apart(graph: Graph) -> bool:
    """Whether no type is split on both sides of relations."""
    return not split_types(graph, Side.LHS) & split_types(graph, Side.RHS)


def locked_sides(graph: Graph) -> list[Side]:
    """Sides whose partitions are locked: what lies in partition 0 of another one every rank has a copy of."""
    return [side for side in Side if split_types(graph, side)]


def require_shareable(graph: Graph, dimension: int, ranks: int) -> None:
    """Raises DataError for a graph whose partitions cannot keep so many ranks at work, or whose types of one partition
    are too large for every rank to have a copy."""
    if graph.partitions == 1:
        both = set(graph.types_on(Side.LHS)) & set(graph.types_on(Side.RHS))
        named = ", ".join(kind.name for kind in graph.entity_types)
        raise DataError(
            f"graph.entities: {named}: one partition each, so there is one bucket, and nothing for {ranks} ranks to "
            f"share out; expected graph.partitions of at least {2 * ranks if both else ranks} without `partitions: 1` "
            f"of what is large, or one machine (model.machines: null)"
        )
    least = ranks if types_apart(graph) else 2 * ranks
    if graph.partitions < least:
        raise DataError(
            f"graph.partitions: {graph.partitions} cannot keep {ranks} ranks at work, expected at least {least}"
        )
    require_exchangeable(graph, dimension)


class SharedSchedule:
    """A Schedule of any rank but the first. What it gives up is in its file before anybody else may have it."""

    segment: ClassVar[int] = SEGMENT
    snapshots: ClassVar[bool] = False

    def __init__(self, rank: int, agreement: Agreement, graph: Graph, files: SharedFiles, replicas: Replicas) -> None:
        self._rank, self._agreement, self._graph, self._files = rank, agreement, graph, files
        self._replicas, self._residency, self._backend = replicas, replicas.residency, replicas.backend
        self._values = SharedValues(rank, agreement, replicas)
        self._held: list[Bucket] = []
        self._taking = Lock()  # one thread acquires while the other releases, and both change what is held and known
        self._previous: Bucket | None = None
        self._elsewhere = 0

    def begin(self, pass_index: int, done: int) -> None:
        self._previous, self._elsewhere = None, 0
        self._residency.keep_only(self._replicas.keys)  # a commit may have looked at others, which all may train now
        self._replicas.bring()
        self._values.take()

    def wait_for_pass(self, done: int) -> int | None:
        """The next pass after `done`; None when the training is over."""
        while (index := self._agreement.next_pass(self._rank, done)) == done:
            time.sleep(WAIT_SECONDS)
        return index

    def acquire(self) -> Bucket | None:
        while True:
            turn = self._take_turn()
            if turn.bucket is not None or turn.over:
                return turn.bucket
            time.sleep(WAIT_SECONDS)

    def _take_turn(self) -> Turn:
        with self._taking:  # stamps that were old by the time they are taken over would be waited for in vain
            turn = self._agreement.acquire(self._rank, self._previous)
            if turn.bucket is not None:
                self._files.agreed.stamps.update(turn.stamps)
                self._held.append(turn.bucket)
                self._previous = turn.bucket
            return turn

    def look(self) -> None:
        edges, loss, _ = read_counters(self._backend.counters)
        self._elsewhere = int(self._agreement.alive(self._rank, edges, loss))

    def between_segments(self) -> None:
        self.look()
        if not self._residency.busy:  # a bucket's end waits for what loads, and would anyway
            self._exchange_if_due()

    def release(self, report: BucketReport) -> None:
        with self._taking:
            self._held.remove(report.bucket)
            held = {key for bucket in self._held for key in needed(self._graph, bucket)}
            self._residency.keep_only({*held, *self._replicas.keys})
            self._agreement.release(self._rank, report, self._files.agreed.tell())
        self._exchange_if_due()

    def end(self, position: Position) -> Position | None:
        self._residency.keep_only(self._replicas.keys)
        self._values.exchange()
        self._agreement.end(self._rank)
        return None

    def _exchange_if_due(self) -> None:
        if self._values.due:
            self._values.exchange()

    def elsewhere(self) -> int:
        return self._elsewhere

    def news(self) -> list[BucketReport]:
        return []


class FirstSchedule(SharedSchedule):
    """Rank 0's: it opens each pass, and commits it when all have ended it."""

    def __init__(
        self,
        coordinator: Coordinator,
        graph: Graph,
        edges: EdgeFiles,
        seed: int,
        files: SharedFiles,
        replicas: Replicas,
    ) -> None:
        super().__init__(0, coordinator, graph, files, replicas)
        self._coordinator, self._edges, self._seed = coordinator, edges, seed

    def begin(self, pass_index: int, done: int) -> None:
        self._replicas.bring()
        self._coordinator.share(self._replicas.read())  # as it is here: what is beyond model.max_drift was put back
        super().begin(pass_index, done)
        self._coordinator.stamps.update(self._files.agreed.tell())  # of the last commit
        self._coordinator.open_pass(pass_index, bucket_order(self._graph, self._edges, seed_of(self._seed, pass_index)))

    def end(self, position: Position) -> Position:
        super().end(position)
        while (reports := self._coordinator.finished_pass()) is None:
            time.sleep(WAIT_SECONDS)
        self._files.agreed.stamps.update(self._coordinator.stamps)
        self._files.require_all_seen()
        self._values.take()
        self._residency.mark(self._replicas.keys)  # the others may have trained them alone
        edges, loss = sum(report.edges for report in reports), sum(report.loss for report in reports)
        return Position(len(reports), 0, edges, loss)

    def news(self) -> list[BucketReport]:
        return self._coordinator.news()
