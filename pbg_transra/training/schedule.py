"""Which bucket comes next: the seam between one machine, which walks PBG's order, and several that share buckets."""

from collections import deque
from typing import ClassVar, Protocol

from artifacts.formats.graph import Bucket, Graph, Side
from pbg_transra.backends.backend import SEGMENT
from pbg_transra.pbg.bucket_order import inside_out
from pbg_transra.ranks.coordinator import BucketReport
from pbg_transra.seeds import seed_of
from pbg_transra.training.checkpoint_files import Position
from pbg_transra.training.edge_files import EdgeFiles


class Schedule(Protocol):
    """Hands out the buckets of a pass.

    The loop works ahead: it acquires a bucket while it still trains the one before, whose partitions it holds until it
    releases that. `acquire` is called by the thread that loads, so it may wait for another machine; everything else
    comes from the main one. `segment`: edges that are trained between two looks at the clock, at most. `snapshots`:
    whether one machine can take them in the middle of a pass.
    """

    segment: ClassVar[int]
    snapshots: ClassVar[bool]

    def begin(self, pass_index: int, done: int) -> None:
        """A pass, counted from 0, begins or goes on: `done` of its buckets are trained already."""
        ...

    def acquire(self) -> Bucket | None:
        """The next bucket to train; None when no bucket of the pass is left."""
        ...

    def look(self) -> None:
        """While a segment trains. Raises PeerError when another machine is gone."""
        ...

    def between_segments(self) -> None:
        """No segment trains: what machines share can move."""
        ...

    def release(self, report: BucketReport) -> None:
        """A bucket has been trained."""
        ...

    def end(self, position: Position) -> Position | None:
        """No bucket of the pass is left, and `position` is what was trained here. Returns what was trained everywhere,
        once that is all of the pass; None where another machine commits it."""
        ...

    def elsewhere(self) -> int:
        """Edges of the pass that other machines have trained."""
        ...

    def news(self) -> list[BucketReport]:
        """Buckets that other machines have trained since the last call."""
        ...


class InOrder:
    """The schedule of one machine: PBG's order, another for each pass."""

    segment: ClassVar[int] = SEGMENT
    snapshots: ClassVar[bool] = True

    def __init__(self, graph: Graph, edges: EdgeFiles, seed: int) -> None:
        self._graph, self._edges, self._seed = graph, edges, seed
        self._left: deque[Bucket] = deque()

    def begin(self, pass_index: int, done: int) -> None:
        self._left = deque(bucket_order(self._graph, self._edges, seed_of(self._seed, pass_index))[done:])

    def acquire(self) -> Bucket | None:
        return self._left.popleft() if self._left else None

    def look(self) -> None:
        """There is nobody else."""

    def between_segments(self) -> None:
        """Nothing is shared."""

    def release(self, report: BucketReport) -> None:
        """Nobody waits for it."""

    def end(self, position: Position) -> Position:
        return position

    def elsewhere(self) -> int:
        return 0

    def news(self) -> list[BucketReport]:
        return []


def bucket_order(graph: Graph, edges: EdgeFiles, seed: int) -> list[Bucket]:
    """The buckets that have edges, in PBG's order, which depends on the seed only."""
    order = inside_out(graph.partitions_on(Side.LHS), graph.partitions_on(Side.RHS), seed)
    return [bucket for bucket in order if edges.counts[bucket]]
