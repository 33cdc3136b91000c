"""The seam of a build's heavy work: what reads events and maps ids, and where buckets are made.

`LocalBackend` does it in this process, `SparkBackend` on the executors of a cluster; the result is the same bytes.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from partitioning.buckets.counts import GraphCounts
from partitioning.config.sections import GraphConfig
from partitioning.engines.scan import Progress, Scan
from partitioning.entities.entity_map import EntityMap
from partitioning.ledger.arrays import KeepsArrays
from partitioning.ledger.continuation import Continuation
from partitioning.ledger.history import History


class Bucketed(NamedTuple):
    """The counts of a graph, and the number of edges that it leaves out since an earlier split has them."""

    counts: GraphCounts
    seen: int


class Backend(Protocol):
    """Methods are called in the order in which they stand here. Both raise DataError for input that is not as the
    config says, and ResourceError for too little memory or disk."""

    def scan(
        self, continuation: Continuation, destination: Path, spill: Path, expected: int, progress: Progress
    ) -> Scan:
        """Reads what a `Continuation` says: ids go to `destination`, edges to `spill`. About so many are `expected`."""

    def write_buckets(
        self,
        scan: Scan,
        entities: dict[str, EntityMap],
        history: History,
        destination: Path,
        arrays: KeepsArrays,
        progress: Callable[[float], None],
    ) -> Bucketed:
        """Writes and counts every bucket of a spill, once it is thinned. Raises WrongWeight."""


OpenBackend = Callable[[GraphConfig, Path], AbstractContextManager[Backend]]  # with the directory of what is spilled
