"""The seam of the engine: what reads events and maps their ids. All that follows is numpy and knows no SQL.

DuckDB is the engine of one machine (`duckdb_reader`, with the rooms sources/ and events/, `entities/id_table.py` and
`edges/query.py`); another stands beside it by giving an `EventReader`. (Spark, which writes in its executors, stands at
the seam above, `backend`.) All must agree to the byte, so:

- partition and offset of an id are those that `entities/id_table.py` names: md5 of its text, order of (md5, id); ids of
  the previous graph keep theirs;
- relations are in the order of the config, those of a `relation_column` sorted by code point in its place;
- of a type that occurs in rows which need consent (there or here), ids of the previous graph that no event has any more
  leave, and the last ids of their partition take their offsets; of other types they stay;
- an id without a partner in the entity map (forgotten) takes its edges with it;
- the order of edges is free: bucket files are sorted.
"""

from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from partitioning.config.sections import GraphConfig
from partitioning.edges.grid import Grid
from partitioning.edges.key import Keys
from partitioning.edges.stream import EdgeBatch
from partitioning.entities.entity_map import EntityMap
from partitioning.events.relations import NamedRelation
from partitioning.events.totals import ReadTotals
from partitioning.ledger.continuation import Continuation


class EventReader(Protocol):
    """The events that a `Continuation` says are to be read. Methods are called in the order in which they stand here.

    Every method raises DataError, with file and row, for input that is not as the config says, and ResourceError for
    too little memory or disk.
    """

    relations: list[NamedRelation]

    def map_entities(self, type: str, hashed: bool) -> EntityMap:
        """Maps the ids of a type; `hashed` keeps their hashes for `hashes`."""

    def ids(self, type: str) -> Generator[pa.RecordBatch, None, None]:
        """Batches of one column, the ids of a type (strings) by partition and offset, without missing values.

        If a previous graph is counted (`Continuation.counted_graph`), only the ids that it does not have.
        """

    def hashes(self, type: str) -> Generator[Keys, None, None]:
        """Md5 hashes, lower 64 bits, of the same ids in the same order; asked only of types that were `hashed`."""

    def edge_batches(self, grid: Grid) -> Iterator[EdgeBatch]:
        """Every event as an edge, once all types are mapped."""

    def totals(self) -> ReadTotals:
        """What was read."""


class OpenEvents(Protocol):
    """Opens the events of a build with `threads` threads, keeping what does not fit memory below `spill`."""

    def __call__(
        self, config: GraphConfig, continuation: Continuation, spill: Path, threads: int
    ) -> AbstractContextManager[EventReader]: ...
