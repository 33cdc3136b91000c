"""The entity map: the partition and offset of every id, and its files.

The partition of an id is the lower 64 bits of its md5, little endian, modulo the number of partitions: any engine can
compute it. Offsets follow the order of (md5, id) inside a partition, so they do not depend on rows or threads.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.graph import ids_path
from partitioning.config import GraphConfig
from partitioning.diagnosis import missing_value
from partitioning.engine import Engine, quoted, translated
from partitioning.events import Events, text

_ROW_GROUP = 1 << 20
_HASH = "CAST(md5_number(id) >> 64 AS UBIGINT)"  # DuckDB's md5_number_lower, which is four times slower
_SCHEMA = pa.schema([("id", pa.string())])
_PARQUET = {"compression": "zstd", "use_dictionary": False, "write_statistics": False}  # every id occurs once


@dataclass(frozen=True)
class EntityMap:
    """The ids of a type in DuckDB: `table` has id, part and hash; its rowid counts through the partitions in order."""

    type: str
    table: str
    counts: tuple[int, ...]

    @property
    def starts(self) -> list[int]:
        """The first rowid of each partition."""
        return [sum(self.counts[:part]) for part in range(len(self.counts))]


def map_entities(engine: Engine, config: GraphConfig, events: list[Events], type: str, hashed: bool) -> EntityMap:
    """Collects and orders the ids of a type. Raises DataError for a missing id. `hashed` keeps the hash column."""
    columns = _columns(events, type)
    distinct = " UNION ALL ".join(
        f"SELECT {text(column)} AS id FROM {table} WHERE {' OR '.join(sorted(conditions))}"
        for (table, column), conditions in columns.items()
    )
    partitions = config.partitions_of(type)
    name = quoted(f"entities_{type}")
    if columns:
        engine.run(
            f"CREATE TEMP TABLE {name} AS SELECT id, part{', hash' * hashed} FROM (SELECT *, "
            f"CAST(hash % {partitions} AS USMALLINT) AS part FROM (SELECT id, {_HASH} AS hash "
            f"FROM (SELECT DISTINCT id FROM ({distinct})))) ORDER BY part, hash, id"
        )
    else:
        engine.run(f"CREATE TEMP TABLE {name} (id VARCHAR, part USMALLINT, hash UBIGINT)")
    counts = dict(engine.rows(f"SELECT part, count(*) FROM {name} GROUP BY part"))
    if None in counts:
        raise _missing_id(engine, events, type)
    return EntityMap(type, name, tuple(counts.get(part, 0) for part in range(partitions)))


def _columns(events: list[Events], type: str) -> dict[tuple[str, str], set[str]]:
    """Of each column with ids of a type, the conditions of its rows: a column of several relations is read once."""
    columns: dict[tuple[str, str], set[str]] = {}
    for part in events:
        for side in part.relation.sides.values():
            if side.type == type:
                columns.setdefault((part.source.table, side.column), set()).add(f"({part.condition})")
    return {key: {"true"} if "(true)" in conditions else conditions for key, conditions in columns.items()}


def _missing_id(engine: Engine, events: list[Events], type: str) -> Exception:
    for part in events:
        for side in part.relation.sides.values():
            if side.type != type:
                continue
            rows = f"FROM {part.source.table} WHERE ({part.condition}) AND {quoted(side.column)} IS NULL"
            if engine.row(f"SELECT count(*) {rows}")[0]:
                return missing_value(engine, part.source, side.column, part.condition)
    raise AssertionError(f"an id of type {type} is missing, but no row is without")


class _Ids:
    """A stream of ids from which any number can be taken."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._held: pa.StringArray = pa.nulls(0, pa.string())  # pa.array would import pandas

    def take(self, count: int) -> pa.StringArray:
        pieces = [self._held]
        while (missing := count - sum(map(len, pieces))) > 0:
            pieces.append(next(self._batches).column(0))
        last = pieces.pop()
        self._held = last[len(last) + missing :] if missing else last[len(last) :]
        return pa.concat_arrays([*pieces, last[: len(last) + missing]])


def write_entities(engine: Engine, entities: EntityMap, directory: Path) -> None:
    """Writes the ids and the count of every partition of a type."""
    ids = _Ids(engine.batches(f"SELECT id FROM {entities.table}", _ROW_GROUP))
    ids_path(directory, entities.type, 0).parent.mkdir(parents=True)
    for part, count in enumerate(entities.counts):
        with translated():
            (directory / f"entity_count_{entities.type}_{part}.txt").write_text(f"{count}\n")
            with pq.ParquetWriter(ids_path(directory, entities.type, part), _SCHEMA, **_PARQUET) as file:
                for start in range(0, count, _ROW_GROUP):
                    group = ids.take(min(_ROW_GROUP, count - start))
                    file.write_batch(pa.record_batch([group], schema=_SCHEMA), row_group_size=_ROW_GROUP)


def write_names(directory: Path, type: str, partitions: int) -> None:
    """Writes PBG's entity_names files, streaming the ids that `write_entities` wrote."""
    for part in range(partitions):
        with (directory / f"entity_names_{type}_{part}.json").open("w") as file, translated():
            separator = "["
            for batch in pq.ParquetFile(ids_path(directory, type, part)).iter_batches():
                for name in batch.column(0).to_pylist():
                    file.write(f"{separator}\n{json.dumps(name)}")
                    separator = ","
            file.write("]\n" if separator == "," else "[]\n")
