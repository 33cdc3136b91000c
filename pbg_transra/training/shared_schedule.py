"""The schedule of one of several machines: PBG's locks say which bucket it may train."""

import time
from threading import Lock
from typing import ClassVar

from artifacts.errors import DataError
from artifacts.formats.graph import Bucket, Graph, Side
from pbg_transra.backends.backend import Backend
from pbg_transra.backends.processor import read_counters
from pbg_transra.ranks.coordinator import Agreement, BucketReport, Coordinator, Turn
from pbg_transra.ranks.shared_values import SharedValues
from pbg_transra.seeds import seed_of
from pbg_transra.training.checkpoint_files import Position
from pbg_transra.training.edge_files import EdgeFiles
from pbg_transra.training.residency import Residency, needed
from pbg_transra.training.schedule import bucket_order
from pbg_transra.training.shared_files import SharedFiles

SEGMENT = 250_000  # edges: what machines share moves between segments
WAIT_SECONDS = 0.02  # for a bucket, a pass, or the others


def types_apart(graph: Graph) -> bool:
    """Whether no type is on both sides of relations."""
    return not set(graph.types_on(Side.LHS)) & set(graph.types_on(Side.RHS))


def require_shareable(graph: Graph, ranks: int) -> None:
    """Raises DataError for a graph whose partitions cannot keep so many ranks at work."""
    least = ranks if types_apart(graph) else 2 * ranks
    if graph.partitions < least:
        raise DataError(
            f"graph.partitions: {graph.partitions} cannot keep {ranks} ranks at work, expected at least {least}"
        )
    for kind in graph.entity_types:
        if kind.partitions == 1:
            raise DataError(
                f"graph.entities.{kind.name}.partitions: 1, so all ranks of model.machines would train it at once; "
                f"expected none there, so that it is split as graph.partitions says"
            )


class SharedSchedule:
    """A Schedule of any rank but the first. What it gives up is in its file before anybody else may have it."""

    segment: ClassVar[int] = SEGMENT
    snapshots: ClassVar[bool] = False

    def __init__(
        self, rank: int, agreement: Agreement, graph: Graph, files: SharedFiles, residency: Residency, backend: Backend
    ) -> None:
        self._rank, self._agreement, self._graph = rank, agreement, graph
        self._files, self._residency, self._backend = files, residency, backend
        self._values = SharedValues(rank, agreement, backend)
        self._held: list[Bucket] = []
        self._taking = Lock()  # one thread acquires while the other releases, and both change what is held and known
        self._previous: Bucket | None = None
        self._elsewhere = 0

    def begin(self, pass_index: int, done: int) -> None:
        self._previous, self._elsewhere = None, 0
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
        self._values.exchange_if_due()

    def release(self, report: BucketReport) -> None:
        with self._taking:
            self._held.remove(report.bucket)
            self._residency.keep_only({key for bucket in self._held for key in needed(self._graph, bucket)})
            self._agreement.release(self._rank, report, self._files.agreed.tell())

    def end(self, position: Position) -> Position | None:
        self._residency.keep_only(())
        self._values.exchange()
        self._agreement.end(self._rank)
        return None

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
        residency: Residency,
        backend: Backend,
    ) -> None:
        super().__init__(0, coordinator, graph, files, residency, backend)
        self._coordinator, self._edges, self._seed = coordinator, edges, seed

    def begin(self, pass_index: int, done: int) -> None:
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
        edges, loss = sum(report.edges for report in reports), sum(report.loss for report in reports)
        return Position(len(reports), 0, edges, loss)

    def news(self) -> list[BucketReport]:
        return self._coordinator.news()
