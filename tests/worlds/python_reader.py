"""An engine in plain Python beside DuckDB's: CSV without consent, look-ups or a ledger, read row by row."""

import csv
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.formats.graph import Bucket, Side, ids_path, load_graph
from partitioning.config.sections import GraphConfig
from partitioning.edges.edge_hash import split_by_hash
from partitioning.edges.grid import Grid
from partitioning.edges.stream import EdgeBatch, Window
from partitioning.entities.entity_map import EntityMap
from partitioning.events.relations import NamedRelation
from partitioning.events.time_split import SplitByTime
from partitioning.events.totals import ReadTotals
from partitioning.events.weights import UNIT
from partitioning.ledger.continuation import Continuation


@contextmanager
def open_python(config: GraphConfig, continuation: Continuation, spill: Path, threads: int) -> Iterator["PythonReader"]:
    yield PythonReader(config, continuation)


def md5(id: str) -> int:
    return int.from_bytes(hashlib.md5(id.encode()).digest()[8:], "little")


class PythonReader:
    """See `partitioning.engines.event_reader.EventReader`. A relation's `weight` is the name of a column."""

    def __init__(self, config: GraphConfig, continuation: Continuation) -> None:
        self._config, self._previous = config, continuation.previous
        self._rows = {
            name: [row for path in paths for row in csv.DictReader(path.open())]
            for name, paths in continuation.files.items()
        }
        self.relations = [
            NamedRelation(name, index, relation)
            for index, relation in enumerate(config.relations)
            for name in ([relation.name] if relation.name else sorted(self._names(relation)))
        ]
        self._ids: dict[str, list[list[str]]] = {}

    def _names(self, relation) -> set[str]:
        return {row[relation.relation_column] for source in relation.sources for row in self._rows[source]}

    def _events(self) -> Iterator[tuple[int, str, dict[str, str]]]:
        """Relation, source and row of every event."""
        for index, relation in enumerate(self.relations):
            for source in relation.config.sources:
                for row in self._rows[source]:
                    if relation.config.name or row[relation.config.relation_column] == relation.name:
                        yield index, source, row

    def map_entities(self, type: str, hashed: bool) -> EntityMap:
        partitions = self._config.partitions_of(type)
        ids = self._published(type, partitions)
        previous = tuple(map(len, ids))
        found = {
            row[side.column]
            for index, _, row in self._events()
            for side in self.relations[index].config.sides.values()
            if side.type == type
        }
        for id in sorted(found.difference(*ids), key=lambda id: (md5(id), id)):
            ids[md5(id) % partitions].append(id)
        self._ids[type] = ids
        return EntityMap(type, tuple(map(len, ids)), previous)

    def _published(self, type: str, partitions: int) -> list[list[str]]:
        if not self._previous or type not in {known.name for known in load_graph(self._previous).entity_types}:
            return [[] for _ in range(partitions)]
        return [pq.read_table(ids_path(self._previous, type, part))["id"].to_pylist() for part in range(partitions)]

    def ids(self, type: str) -> Iterator[pa.RecordBatch]:
        for part in self._ids[type]:  # a batch for each, also of none
            yield pa.record_batch([pa.array(part, pa.string())], ["id"])

    def hashes(self, type: str) -> Iterator[np.ndarray]:
        yield np.array([md5(id) for part in self._ids[type] for id in part], np.uint64)

    def edge_batches(self, grid: Grid) -> Iterator[EdgeBatch]:
        at = {
            (type, id): (part, offset)
            for type, parts in self._ids.items()
            for part, ids in enumerate(parts)
            for offset, id in enumerate(ids)
        }
        for index, source, row in self._events():
            relation = self.relations[index].config
            ends = [at[relation.side(side).type, row[relation.side(side).column]] for side in Side]
            bucket = Bucket(*(part for part, _ in ends))
            keys = grid.layout.pack(np.array([index]), *(np.array([offset]) for _, offset in ends))
            weighted = any(named.config.weight for named in self.relations)
            units = round(float(row[relation.weight]) * UNIT) if relation.weight else UNIT
            hashes = [np.array([md5(row[relation.side(side).column])], np.uint64) for side in Side]
            split, time = self._split(index, hashes, source, row)
            yield EdgeBatch(
                bucket=np.array([grid.number(bucket)]),
                split=np.array([split]),
                keys=keys,
                units=np.array([units]) if weighted else None,
                moments=None,
                window=Window(time, time) if self._config.split.random or split == 0 else Window(),
            )

    def _split(self, index: int, hashes: list[np.ndarray], source: str, row: dict) -> tuple[int, int]:
        time, split = int(row[self._config.sources[source].time_column]), self._config.split
        if split.time:
            return int(SplitByTime.of(split.time).codes(np.array([time]))[0]), time
        if split.random:
            codes = split_by_hash(split.random, self._config.seed, self.relations, np.array([index]), *hashes)
            return int(codes[0]), time
        return 0, time

    def totals(self) -> ReadTotals:
        return ReadTotals({name: len(rows) for name, rows in self._rows.items()}, {}, {})
