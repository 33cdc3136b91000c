"""Which bucket comes next: the seam between one machine, which walks PBG's order, and several that share buckets."""

from collections import deque
from typing import Protocol

from artifacts.graph import Bucket, Graph, Side
from pbg_transra.pbg.bucket_order import inside_out
from pbg_transra.seeds import seed_of
from pbg_transra.training.edge_files import EdgeFiles


class Schedule(Protocol):
    """Hands out the buckets of a pass.

    The loop works ahead: it acquires a bucket while it still trains the one before, whose partitions it holds until it
    releases that. `acquire` is called by the thread that loads, so it may wait for another machine.
    """

    def begin(self, pass_index: int, done: int) -> None:
        """A pass, counted from 0, begins or goes on: `done` of its buckets are trained already."""
        ...

    def acquire(self) -> Bucket | None:
        """The next bucket to train; None when no bucket of the pass is left."""
        ...

    def release(self, bucket: Bucket) -> None:
        """A bucket has been trained."""
        ...


class InOrder:
    """The schedule of one machine: PBG's order, another for each pass."""

    def __init__(self, graph: Graph, edges: EdgeFiles, seed: int) -> None:
        self._graph, self._edges, self._seed = graph, edges, seed
        self._left: deque[Bucket] = deque()

    def begin(self, pass_index: int, done: int) -> None:
        self._left = deque(bucket_order(self._graph, self._edges, seed_of(self._seed, pass_index))[done:])

    def acquire(self) -> Bucket | None:
        return self._left.popleft() if self._left else None

    def release(self, bucket: Bucket) -> None:
        """Nobody waits for it."""


def bucket_order(graph: Graph, edges: EdgeFiles, seed: int) -> list[Bucket]:
    """The buckets that have edges, in PBG's order, which depends on the seed only."""
    order = inside_out(graph.partitions_on(Side.LHS), graph.partitions_on(Side.RHS), seed)
    return [bucket for bucket in order if edges.counts[bucket]]
