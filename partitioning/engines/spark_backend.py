"""A build on Spark: see `partitioning.engines.backend`.

The driver holds counts, and the list of ids to forget; ids and edges pass through it for hub caps and minimum degrees
alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from artifacts.errors import ConfigError
from artifacts.formats.graph import Side
from partitioning.buckets.bucket_edges import WrongWeight
from partitioning.buckets.buckets import make_edge_paths
from partitioning.buckets.counts import GraphCounts
from partitioning.config.sections import GraphConfig
from partitioning.edges.entity_hashes import EntityHashes
from partitioning.edges.key import Indices, Keys
from partitioning.engines.backend import Bucketed
from partitioning.engines.scan import Progress, Scan
from partitioning.entities.entity_map import EntityMap
from partitioning.inspection.plan import threads_within
from partitioning.ledger.arrays import KeepsArrays
from partitioning.ledger.continuation import Continuation
from partitioning.ledger.history import History
from partitioning.spark.bucket_tasks import CountedPartition, EdgeTasks, MadeBucket
from partitioning.spark.edges import spill_edges
from partitioning.spark.entities import map_entities
from partitioning.spark.entity_files import Places, partitions_of, places
from partitioning.spark.events import SparkEvents
from partitioning.spark.session import each, spark_session
from partitioning.thinning.hub_cap import capped_types

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_EDGES_OF_TASK = 2_000_000  # of a shuffle


@contextmanager
def open_spark(config: GraphConfig, spill: Path) -> Iterator[SparkBackend]:
    """See `backend.OpenBackend`. Raises what `spark_session` raises."""
    with spark_session(config.spark, spill) as session:
        yield SparkBackend(session, config)


class SparkBackend:
    """See `backend.Backend`."""

    def __init__(self, session: SparkSession, config: GraphConfig) -> None:
        self._session, self._config = session, config

    def scan(
        self, continuation: Continuation, destination: Path, spill: Path, expected: int, progress: Progress
    ) -> Scan:
        if continuation.frames:
            raise ConfigError('sources: graph.engine "spark" reads files; expected no frames, or "duckdb"')
        self._set_up(expected)
        events = SparkEvents(self._session, self._config, continuation, spill)
        try:
            progress("entities", 0.0)
            entities = map_entities(self._session, events, continuation.previous, spill, destination)
            progress("edges", 0.0)
            map = Places(
                destination, list(self._config.entities), partitions_of(self._config), self._config.memory_bytes
            )
            placed = places(self._session, map)
            edge_spill, spilled = spill_edges(self._session, events, entities, placed, spill)
            hashes = EntityHashes(spill, entities)
            for type in sorted(capped_types(self._config)):
                hashes.write(type, _hashes(map, type, entities[type]))
            return Scan(events.relations, entities, hashes, edge_spill, spilled, events.totals())
        finally:
            events.close()

    def _set_up(self, expected: int) -> None:
        tasks = max(expected // _EDGES_OF_TASK, self._session.sparkContext.defaultParallelism)
        self._session.conf.set("spark.sql.shuffle.partitions", str(tasks))
        self._session.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", str(1 << 17))

    def write_buckets(
        self,
        scan: Scan,
        entities: dict[str, EntityMap],
        history: History,
        destination: Path,
        arrays: KeepsArrays,
        progress: Callable[[float], None],
    ) -> Bucketed:
        progress(0.0)
        threads_within(self._config, scan.spill.largest_bucket(), 1)
        make_edge_paths(destination)
        spill = replace(scan.spill, stays=True)  # a task may be run again
        tasks, buckets = EdgeTasks(self._config, scan.relations, spill), list(spill.grid)
        made = each(self._session, partial(tasks.make, destination), buckets)
        if wrong := [one.wrong for one in made if one.wrong is not None]:
            raise WrongWeight(wrong[0])
        shutil.rmtree(scan.spill.directory / "attempts")
        progress(0.5)
        parts = range(max(len(one.counts) for one in entities.values()))
        counted = each(self._session, partial(tasks.count, destination, entities), parts)
        progress(1.0)
        return Bucketed(_graph_counts(made, counted, list(entities)), sum(one.seen for one in made))


def _hashes(map: Places, type: str, entities: EntityMap) -> Iterator[Keys]:
    """Md5 hashes, lower 64 bits, of the ids of a type by partition and offset."""
    for part in range(len(entities.counts)):
        for batch in map.of(map.types.index(type), part):
            yield np.from_dlpack(batch.column(4)).view(np.uint64)


def _graph_counts(made: list[MadeBucket], counted: list[CountedPartition], types: list[str]) -> GraphCounts:
    """The counts of all buckets, which come row by row, and of all partitions."""
    by_type = {}
    for type in types:
        first, *rest = (one.types[type] for one in counted)
        by_type[type] = sum(rest, first)
    return GraphCounts(
        edges=np.sum([one.edges for one in made], axis=0),
        bucket_sizes=np.stack([one.edges.sum(axis=0) for one in made], axis=1),
        distinct={side: _distinct(counted, side) for side in Side},
        types=by_type,
    )


def _distinct(counted: list[CountedPartition], side: Side) -> Indices:
    found: Indices = np.sum([one.distinct[side] for one in counted if side in one.distinct], axis=0)
    return found
