"""The entity map: the partition and offset of every id, and its files.

The partition of an id is the lower 64 bits of its md5, little endian, modulo the number of partitions: any engine can
compute it. Offsets follow the order of (md5, id) inside a partition, so they do not depend on rows or threads; ids that
an earlier graph knows come first and keep their offsets.
"""

from dataclasses import dataclass
from pathlib import Path

from artifacts.errors import DataError
from artifacts.graph import ids_path, load_graph
from partitioning.config import GraphConfig
from partitioning.diagnosis import missing_value
from partitioning.engine import Engine, literal, quoted
from partitioning.events import Events, text

_HASH = "CAST(md5_number(id) >> 64 AS UBIGINT)"  # DuckDB's md5_number_lower, which is four times slower


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


def map_entities(
    engine: Engine, config: GraphConfig, events: list[Events], type: str, known: Path | None, hashed: bool
) -> EntityMap:
    """Collects and orders the ids of a type. `hashed` keeps the hash column.

    Ids of the graph in `known` keep partition and offset, new ones follow them. Raises DataError for a missing id and
    for a known graph with another number of partitions.
    """
    partitions, name = config.partitions_of(type), quoted(f"entities_{type}")
    part = f"CAST(hash % {partitions} AS USMALLINT) AS part"
    found = f"SELECT id, hash, {part} FROM (SELECT id, {_HASH} AS hash FROM ({_distinct(events, type)}))"
    order = "part, hash, id"
    if earlier := _known_ids(known, type, partitions):
        found = (
            f"SELECT *, {_HASH} AS hash, false AS new FROM ({earlier}) UNION ALL BY NAME "
            f"SELECT *, hash AS place, true AS new FROM ({found}) ANTI JOIN ({earlier}) USING (id)"
        )
        order = "part, new, place, id"
    engine.run(f"CREATE TEMP TABLE {name} AS SELECT id, part{', hash' * hashed} FROM ({found}) ORDER BY {order}")
    counts = dict(engine.rows(f"SELECT part, count(*) FROM {name} GROUP BY part"))
    if None in counts:
        raise _missing_id(engine, events, type)
    return EntityMap(type, name, tuple(counts.get(part, 0) for part in range(partitions)))


def _known_ids(known: Path | None, type: str, partitions: int) -> str | None:
    """SQL of (id, part, place) of the ids that keep their place; None when there are none."""
    graph = load_graph(known) if known else None
    before = {entity_type.name: entity_type for entity_type in graph.entity_types} if graph else {}
    if known is None or type not in before:
        return None
    if before[type].partitions != partitions:
        raise DataError(
            f"{known}: type '{type}' has {before[type].partitions} partitions there and {partitions} in the config; "
            "known ids can only keep their places with the same number, else rebuild the map"
        )
    return " UNION ALL ".join(
        f"SELECT id, CAST({part} AS USMALLINT) AS part, CAST(file_row_number AS UBIGINT) AS place "
        f"FROM read_parquet({literal(str(ids_path(known, type, part)))})"
        for part in range(partitions)
    )


def _distinct(events: list[Events], type: str) -> str:
    """SQL of the distinct ids of a type; a missing id is among them."""
    rows = [
        f"SELECT {text(column)} AS id FROM {table} WHERE {' OR '.join(sorted(conditions))}"
        for (table, column), conditions in _columns(events, type).items()
    ]
    return f"SELECT DISTINCT id FROM ({' UNION ALL '.join(rows or ['SELECT CAST(NULL AS VARCHAR) AS id WHERE false'])})"


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
