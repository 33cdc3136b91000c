"""A build in this process: an engine reads the events, threads make the buckets."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from artifacts.machine.resources import cpu_count
from partitioning.buckets.buckets import write_buckets
from partitioning.buckets.counts import FLAGS_SHARE, Counts
from partitioning.config.sections import GraphConfig
from partitioning.engines.backend import Bucketed
from partitioning.engines.duckdb_reader import open_duckdb
from partitioning.engines.event_reader import OpenEvents
from partitioning.engines.scan import Progress, Scan, scan_events
from partitioning.entities.entity_map import EntityMap
from partitioning.events.relations import summed
from partitioning.inspection.plan import threads_within
from partitioning.ledger.arrays import KeepsArrays
from partitioning.ledger.continuation import Continuation
from partitioning.ledger.history import History


@contextmanager
def open_local(config: GraphConfig, spill: Path, open_events: OpenEvents = open_duckdb) -> Iterator["LocalBackend"]:
    """See `backend.OpenBackend`. `open_events` opens the engine that reads events."""
    yield LocalBackend(config, open_events)


class LocalBackend:
    """See `backend.Backend`."""

    def __init__(self, config: GraphConfig, open_events: OpenEvents) -> None:
        self._config, self._open_events = config, open_events
        self._threads = config.threads or cpu_count()

    def scan(
        self, continuation: Continuation, destination: Path, spill: Path, expected: int, progress: Progress
    ) -> Scan:
        config, counted, threads = self._config, continuation.counted_graph, self._threads
        with self._open_events(config, continuation, spill, threads) as reader:
            return scan_events(reader, config, counted, destination, spill, threads, expected, progress)

    def write_buckets(
        self,
        scan: Scan,
        entities: dict[str, EntityMap],
        history: History,
        destination: Path,
        arrays: KeepsArrays,
        progress: Callable[[float], None],
    ) -> Bucketed:
        config, spill, relations = self._config, scan.spill, scan.relations
        memory = config.memory_bytes // FLAGS_SHARE
        counts = Counts(spill.directory, spill.grid, history, relations, entities, memory, config.holds_out)
        threads = threads_within(config, spill.largest_bucket(), self._threads)
        seen = write_buckets(
            spill, history, destination, config.seed, threads, summed(relations), counts, arrays, progress
        )
        return Bucketed(counts.close(arrays, self._threads), seen)
