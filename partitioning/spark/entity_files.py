"""What an executor does with the entities of one partition of a type: DuckDB orders them, as on one machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from artifacts.expressions.engine import Engine, file_list, literal
from artifacts.formats.graph import ids_path
from partitioning.config.sections import GraphConfig
from partitioning.entities.id_files import write_partition
from partitioning.entities.id_table import HASH, order_ids
from partitioning.events.forget import TABLE, forgotten_ids
from partitioning.spark.attempts import begin, scratch
from partitioning.spark.failures import travelling

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_BATCH = 1 << 17
PLACED = "type int, part int, count bigint, previous bigint, attempt string"
PLACES = "type int, id string, part int, id_offset bigint, hash bigint"  # of each id; its hash as 64 bits with a sign


@dataclass(frozen=True)
class EntityFiles:
    """Orders the ids of a partition and writes them; travels to executors.

    `spill` and `destination` are directories that all of them share.
    """

    config: GraphConfig
    previous: Path | None
    spill: Path
    destination: Path

    @travelling()
    def place(self, key: tuple[Any, ...], ids: pa.Table) -> pa.Table:
        """Writes the ids (column `id`, distinct, nulls skipped) of a type and a partition; those to forget (`gone`) go.

        Returns a row of PLACED.
        """
        type_at, part = (int(one.as_py()) for one in key)
        type = list(self.config.entities)[type_at]
        with scratch() as spill:
            engine = Engine(Path(spill), self.config.memory_bytes, 1)
            try:
                engine.connection.register("ids", ids)
                engine.run(f"CREATE TEMP TABLE {TABLE} AS SELECT {literal(type)} AS type, id FROM ids WHERE gone")
                found = (
                    f"SELECT id, {HASH} AS hash, {part}::USMALLINT AS part FROM ids "
                    f"ANTI JOIN ({forgotten_ids(type)}) USING (id) WHERE id IS NOT NULL"
                )
                name, published = order_ids(engine, self.config, found, type, self.previous, False, (part,))
                (count,) = engine.row(f"SELECT count(*) FROM {name}")
                attempt = begin(self.spill)
                batches = engine.batches(f"SELECT id FROM {name}", _BATCH)
                write_partition(attempt, type, part, count, batches)
                row = (type_at, part, count, published.counts[part], str(attempt))
            finally:
                engine.close()
        names = [field.split()[0] for field in PLACED.split(", ")]
        types = [pa.int32(), pa.int32(), pa.int64(), pa.int64(), pa.string()]
        return pa.table({n: pa.array([v], t) for n, v, t in zip(names, row, types, strict=True)})


def partitions_of(config: GraphConfig) -> list[tuple[int, int]]:
    """Every partition of every type, by its position."""
    return [(at, part) for at, type in enumerate(config.entities) for part in range(config.partitions_of(type))]


@dataclass(frozen=True)
class Places:
    """The rows of PLACES of the ids in the files of a graph, given the positions of the partitions.

    `types` and `partitions` are those of the config and of the graph: a position among the types, and a number.
    """

    directory: Path
    types: list[str]
    partitions: list[tuple[int, int]]
    memory: int

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with travelling():
            for batch in batches:
                for position in batch.column(0).to_pylist():
                    yield from self.of(*self.partitions[position])

    def of(self, type_at: int, part: int) -> Iterator[pa.RecordBatch]:
        """Those of one partition, by offset."""
        path = ids_path(self.directory, self.types[type_at], part)
        engine = Engine(None, self.memory, 1)
        try:
            engine.lock([path], [])
            sql = (
                f"SELECT {type_at}::INTEGER AS type, id, {part}::INTEGER AS part, "
                f"CAST(file_row_number AS BIGINT) AS id_offset, {HASH} AS hash FROM read_parquet({file_list([path])})"
            )
            for batch in engine.batches(sql, _BATCH):
                yield batch.set_column(4, "hash", pa.array(np.from_dlpack(batch.column(4)).view(np.int64)))
        finally:
            engine.close()


def places(session: SparkSession, read: Places) -> DataFrame:
    """Partition and offset of every id of a graph, as PLACES."""
    count = len(read.partitions)
    return session.range(0, count, 1, max(count, 1)).mapInArrow(read, PLACES)
