"""The entity map: the partition and offset of every id, and its files.

The partition of an id is the lower 64 bits of its md5, little endian, modulo the number of partitions: any engine can
compute it. Offsets follow the order of (md5, id) inside a partition, so they do not depend on rows or threads; ids that
an earlier graph knows come first and keep their offsets.
"""

from dataclasses import dataclass
from pathlib import Path

from partitioning.config.sections import GraphConfig
from partitioning.entities.published_ids import known_ids
from partitioning.events.events import Events
from partitioning.events.forget import forgotten_ids
from partitioning.sources.diagnosis import missing_value
from partitioning.sources.engine import Engine, quoted, text

_HASH = "CAST(md5_number(id) >> 64 AS UBIGINT)"  # DuckDB's md5_number_lower, which is four times slower


@dataclass(frozen=True)
class EntityMap:
    """The ids of a type in DuckDB: `table` has id, part and hash; its rowid counts through the partitions in order.

    The first `known` ids of each partition are those of an earlier graph. `places` is what follows FROM to read
    (id, part, place), and hash where it was kept.
    """

    type: str
    table: str
    places: str
    counts: tuple[int, ...]
    known: tuple[int, ...]

    @property
    def starts(self) -> list[int]:
        """The first rowid of each partition."""
        return _starts(self.counts)


def _starts(counts: tuple[int, ...]) -> list[int]:
    return [sum(counts[:part]) for part in range(len(counts))]


def map_entities(
    engine: Engine, config: GraphConfig, events: list[Events], type: str, known: Path | None, hashed: bool
) -> EntityMap:
    """Collects and orders the ids of a type. `hashed` keeps the hash column.

    Ids of the graph in `known` keep partition and offset, new ones follow them; ids to forget get no place, so their
    edges find none either. Raises DataError for a missing id and for a known graph with another number of partitions.
    """
    partitions, name = config.partitions_of(type), quoted(f"entities_{type}")
    found, forgotten = _found(config, events, type), forgotten_ids(type) if config.forget else None
    order = "part, hash, id"
    earlier = known_ids(engine, known, type, partitions, forgotten)
    if any(earlier.counts):
        found = (
            f"SELECT *, {_HASH} AS hash, false AS new FROM ({earlier.rows}) UNION ALL BY NAME "
            f"SELECT *, hash AS place, true AS new FROM ({found}) ANTI JOIN ({earlier.rows}) USING (id)"
        )
        order = "part, new, place, id"
    engine.run(f"CREATE TEMP TABLE {name} AS SELECT id, part{', hash' * hashed} FROM ({found}) ORDER BY {order}")
    counts = _counts(engine, events, type, f"SELECT part, count(*) FROM {name} GROUP BY part", partitions)
    places = f"(SELECT *, rowid - {_starts(counts)}[part + 1] AS place FROM {name})"
    return EntityMap(type, name, places, counts, earlier.counts)


def grow_entities(engine: Engine, config: GraphConfig, events: list[Events], type: str, known: Path) -> EntityMap:
    """The map of the graph in `known` and the new ids of `events`; its table has only the ids that occur in them.

    The same places as `map_entities` gives for all events of both, if the same ids are to be forgotten. Raises
    DataError for a missing id.
    """
    partitions, name, met = config.partitions_of(type), quoted(f"entities_{type}"), quoted(f"met_{type}")
    earlier = known_ids(engine, known, type, partitions, None)
    after = f"{list(earlier.counts)}[part + 1]"
    engine.run(f"CREATE TEMP TABLE {met} AS {_found(config, events, type)}")
    engine.run(
        f"CREATE TEMP TABLE {name} AS WITH old AS MATERIALIZED "
        f"(SELECT id, m.hash, m.part, k.place FROM ({earlier.rows}) k JOIN {met} m USING (id)) "
        f"SELECT * FROM old UNION ALL BY NAME SELECT id, hash, part, {after} + "
        f"row_number() OVER (PARTITION BY part ORDER BY hash, id) - 1 AS place FROM {met} ANTI JOIN old USING (id)"
    )
    new = f"SELECT part, count(*) FROM {name} WHERE part IS NULL OR place >= {after} GROUP BY part"
    more = _counts(engine, events, type, new, partitions)
    counts = tuple(before + added for before, added in zip(earlier.counts, more, strict=True))
    return EntityMap(type, name, name, counts, earlier.counts)


def _found(config: GraphConfig, events: list[Events], type: str) -> str:
    """SQL of (id, hash, part) of the ids of events; those to forget get no place, so their edges find none either."""
    part = f"CAST(hash % {config.partitions_of(type)} AS USMALLINT) AS part"
    ids = _distinct(events, type) + (f" ANTI JOIN ({forgotten_ids(type)}) USING (id)" if config.forget else "")
    return f"SELECT id, hash, {part} FROM (SELECT id, {_HASH} AS hash FROM ({ids}))"


def _counts(engine: Engine, events: list[Events], type: str, sql: str, partitions: int) -> tuple[int, ...]:
    """Ids of each partition, of rows (part, count). Raises DataError when one is missing, which has no partition."""
    counts = dict(engine.rows(sql))
    if None in counts:
        raise _missing_id(engine, events, type)
    return tuple(counts.get(part, 0) for part in range(partitions))


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
