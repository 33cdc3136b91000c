"""The seam of the engine: what reads events and maps their ids. All that follows is numpy and knows no SQL.

DuckDB is the engine today (`duckdb_reader`, with the rooms sources/ and events/, `entities/id_table.py` and
`edges/query.py`); another, such as Spark, stands beside it by giving an `EventReader`. All must agree to the byte, so:

- partition and offset of an id are those that `entities/id_table.py` names: md5 of its text, order of (md5, id); ids of
  the previous graph keep theirs;
- relations are in the order of the config, those of a `relation_column` sorted by code point in its place;
- of a type that occurs in rows which need consent (there or here), ids of the previous graph that no event has any more
  leave, and the last ids of their partition take their offsets; of other types they stay;
- an id without a partner in the entity map (forgotten) takes its edges with it;
- the order of edges is free: bucket files are sorted.
"""

from collections.abc import Generator, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from partitioning.config.sections import GraphConfig
from partitioning.edges.grid import Grid
from partitioning.edges.key import Keys
from partitioning.edges.stream import EdgeBatch
from partitioning.entities.entity_map import EntityMap
from partitioning.events.relations import NamedRelation
from partitioning.ledger.continuation import Continuation


@dataclass(frozen=True)
class ReadTotals:
    """What was read.

    Attributes:
        rows: by source
        types: of the columns of each source, in the engine's words
        without_consent: rows that are no edges for want of consent, by declared relation that needs some
        removed: rows that are no edges since `without` left them out, by declared relation and by source
        forgotten: of the ids to forget, how many were `found` (in events or in the previous graph) and `not_found`, by
            type
        measured: what checks ask of the sources, by label; None where SQL gives no number
    """

    rows: dict[str, int]
    types: dict[str, dict[str, str]]
    without_consent: dict[str, int]
    removed: dict[str, dict[str, int]] = field(default_factory=dict)
    forgotten: dict[str, dict[str, int]] = field(default_factory=dict)
    measured: Mapping[str, float | None] = field(default_factory=dict)


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
