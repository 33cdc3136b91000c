"""The entity map: the partition and offset of every id, and its files.

The partition of an id is the lower 64 bits of its md5, little endian, modulo the number of partitions: any engine can
compute it. Offsets follow the order of (md5, id) inside a partition, so they do not depend on rows or threads; ids that
an earlier graph knows come first and keep their offsets.
"""

from dataclasses import dataclass
from pathlib import Path

from partitioning.config import GraphConfig
from partitioning.diagnosis import missing_value
from partitioning.engine import Engine, quoted, text
from partitioning.events import Events
from partitioning.forget import forgotten_ids
from partitioning.known import known_ids

_HASH = "CAST(md5_number(id) >> 64 AS UBIGINT)"  # DuckDB's md5_number_lower, which is four times slower


@dataclass(frozen=True)
class EntityMap:
    """The ids of a type in DuckDB: `table` has id, part and hash; its rowid counts through the partitions in order.

    The first `known` ids of each partition are those of an earlier graph.
    """

    type: str
    table: str
    counts: tuple[int, ...]
    known: tuple[int, ...]

    @property
    def starts(self) -> list[int]:
        """The first rowid of each partition."""
        return [sum(self.counts[:part]) for part in range(len(self.counts))]


def map_entities(
    engine: Engine, config: GraphConfig, events: list[Events], type: str, known: Path | None, hashed: bool
) -> EntityMap:
    """Collects and orders the ids of a type. `hashed` keeps the hash column.

    Ids of the graph in `known` keep partition and offset, new ones follow them; ids to forget get no place, so their
    edges find none either. Raises DataError for a missing id and for a known graph with another number of partitions.
    """
    partitions, name = config.partitions_of(type), quoted(f"entities_{type}")
    part = f"CAST(hash % {partitions} AS USMALLINT) AS part"
    forgotten = forgotten_ids(type) if config.forget else None
    ids = _distinct(events, type) + (f" ANTI JOIN ({forgotten}) USING (id)" if forgotten else "")
    found = f"SELECT id, hash, {part} FROM (SELECT id, {_HASH} AS hash FROM ({ids}))"
    order = "part, hash, id"
    earlier = known_ids(engine, known, type, partitions, forgotten)
    if any(earlier.counts):
        found = (
            f"SELECT *, {_HASH} AS hash, false AS new FROM ({earlier.rows}) UNION ALL BY NAME "
            f"SELECT *, hash AS place, true AS new FROM ({found}) ANTI JOIN ({earlier.rows}) USING (id)"
        )
        order = "part, new, place, id"
    engine.run(f"CREATE TEMP TABLE {name} AS SELECT id, part{', hash' * hashed} FROM ({found}) ORDER BY {order}")
    counts = dict(engine.rows(f"SELECT part, count(*) FROM {name} GROUP BY part"))
    if None in counts:
        raise _missing_id(engine, events, type)
    return EntityMap(type, name, tuple(counts.get(part, 0) for part in range(partitions)), earlier.counts)


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
