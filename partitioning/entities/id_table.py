"""The tables of ids in DuckDB: partition and offset of every id of a type.

The partition of an id is the lower 64 bits of its md5, little endian, modulo the number of partitions: any engine can
compute it. Offsets follow the order of (md5, id) inside a partition, so they do not depend on rows or threads; ids of
the previous graph come first and keep their offsets.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from artifacts.expressions.engine import Engine, quoted, text
from artifacts.formats.graph import load_graph
from partitioning.config.sections import GraphConfig
from partitioning.entities.entity_map import EntityMap
from partitioning.entities.published_ids import PublishedIds, published_ids
from partitioning.events.events import Events
from partitioning.events.forget import forgotten_ids
from partitioning.sources.diagnosis import missing_value

HASH = "CAST(md5_number(id) >> 64 AS UBIGINT)"  # DuckDB's md5_number_lower, which is four times slower

_NO_ID = "SELECT CAST(NULL AS VARCHAR) AS id WHERE false"
_NUMBER = "CASE WHEN CAST(TRY_CAST(id AS BIGINT) AS VARCHAR) = id THEN TRY_CAST(id AS BIGINT) END"  # of '7', not '07'


@dataclass(frozen=True)
class IdTable:
    """SQL of the ids of a type, which `entities` counts.

    Attributes:
        offsets: what follows FROM to read (id, number, part, id_offset), and hash where it was kept
        ids: a query of the ids that are to be written, by partition and offset
        hashes: a query of the hashes of the same ids
    """

    entities: EntityMap
    offsets: str
    ids: str
    hashes: str


def map_ids(
    engine: Engine, config: GraphConfig, events: list[Events], type: str, previous: Path | None, hashed: bool
) -> IdTable:
    """Collects and orders the ids of a type. `hashed` keeps the hash column.

    Ids of the graph in `previous` keep partition and offset, new ones follow them. Two kinds get none: ids to forget,
    whose edges find none either, and, of a type that occurs in rows which need consent, ids that no event has any more:
    what made them known may have been withdrawn, and the map does not say what it was. Raises DataError for a missing
    id and for a previous graph with another number of partitions.
    """
    partitions = config.partitions_of(type)
    name, published = order_ids(engine, config, _found(config, events, type), type, previous, hashed)
    counts = _counts(engine, events, type, f"SELECT part, count(*) FROM {name} GROUP BY part", partitions)
    starts = [sum(counts[:part]) for part in range(partitions)]
    return IdTable(
        entities=EntityMap(type, counts, published.counts),
        offsets=f"(SELECT *, {_NUMBER} AS number, rowid - {starts}[part + 1] AS id_offset FROM {name})",
        ids=f"SELECT id FROM {name}",
        hashes=f"SELECT hash FROM {name}",
    )


def order_ids(
    engine: Engine,
    config: GraphConfig,
    found: str,
    type: str,
    previous: Path | None,
    hashed: bool,
    parts: Sequence[int] | None = None,
) -> tuple[str, PublishedIds]:
    """Makes a table of the ids of a type by partition and offset; its name, and the ids of the previous graph in it.

    `found` is SQL of (id, hash, part) of the ids that events have; where it has those of some `parts` only, so has the
    table.
    """
    partitions, name = config.partitions_of(type), quoted(f"entities_{type}")
    forgotten, order, met = forgotten_ids(type) if config.forget else None, "part, hash, id", None
    if previous and (config.needs_consent(type) or load_graph(previous).needs_consent(type)):
        table = quoted(f"met_{type}")
        engine.run(f"CREATE TEMP TABLE {table} AS {found}")
        found, met = f"SELECT * FROM {table}", f"SELECT id FROM {table}"
    published = published_ids(engine, previous, type, partitions, forgotten, met, parts)
    if any(published.counts):
        found = (
            f"SELECT id, part, {HASH} AS hash, false AS new, id_offset AS rank FROM ({published.sql}) "
            "UNION ALL BY NAME "
            f"SELECT id, part, hash, true AS new, hash AS rank FROM ({found}) ANTI JOIN ({published.sql}) USING (id)"
        )
        order = "part, new, rank, id"
    engine.run(f"CREATE TEMP TABLE {name} AS SELECT id, part{', hash' * hashed} FROM ({found}) ORDER BY {order}")
    return name, published


def add_ids(engine: Engine, config: GraphConfig, events: list[Events], type: str, previous: Path) -> IdTable:
    """The table of the ids that occur in `events`: those of the graph in `previous`, and new ones, which `ids` has.

    The same offsets as `map_ids` gives for all events of both, if the same ids are to be forgotten. Raises DataError
    for a missing id.
    """
    partitions, name, met = config.partitions_of(type), quoted(f"entities_{type}"), quoted(f"met_{type}")
    published = published_ids(engine, previous, type, partitions, None)
    after = f"{list(published.counts)}[part + 1]"
    engine.run(f"CREATE TEMP TABLE {met} AS {_found(config, events, type)}")
    engine.run(
        f"CREATE TEMP TABLE {name} AS WITH old AS MATERIALIZED "
        f"(SELECT id, m.hash, m.part, p.id_offset FROM ({published.sql}) p JOIN {met} m USING (id)) "
        f"SELECT * FROM old UNION ALL BY NAME SELECT id, hash, part, {after} + "
        f"row_number() OVER (PARTITION BY part ORDER BY hash, id) - 1 AS id_offset FROM {met} ANTI JOIN old USING (id)"
    )
    new = f"FROM {name} WHERE part IS NULL OR id_offset >= {after}"
    added = _counts(engine, events, type, f"SELECT part, count(*) {new} GROUP BY part", partitions)
    counts = tuple(before + more for before, more in zip(published.counts, added, strict=True))
    return IdTable(
        entities=EntityMap(type, counts, published.counts),
        offsets=f"(SELECT *, {_NUMBER} AS number FROM {name})",
        ids=f"SELECT id {new} ORDER BY part, id_offset",
        hashes=f"SELECT hash {new} ORDER BY part, id_offset",
    )


def _found(config: GraphConfig, events: list[Events], type: str) -> str:
    """SQL of (id, hash, part) of the ids of events; those to forget are left out, and with them their edges."""
    part = f"CAST(hash % {config.partitions_of(type)} AS USMALLINT) AS part"
    ids = _distinct(events, type)
    if config.forget:
        ids = f"SELECT id FROM ({ids}) ANTI JOIN ({forgotten_ids(type)}) USING (id)"
    return f"SELECT id, hash, {part} FROM (SELECT id, {HASH} AS hash FROM ({ids}))"


def _distinct(events: list[Events], type: str) -> str:
    """SQL of the ids of a type, each once; a missing id is among them. Numbers are told apart before they are text."""
    numbers = {(part.source.table, part.relation.side(side).column) for part in events for side in part.numbers}
    columns = _columns(events, type)
    ids = [
        f"SELECT CAST(n AS VARCHAR) AS id FROM (SELECT DISTINCT {quoted(column)} AS n FROM {table} WHERE {where})"
        if (table, column) in numbers
        else f"SELECT {text(column)} AS id FROM {table} WHERE {where}"
        for table, column, where in columns
    ]
    if len(columns) == 1 and columns[0][:2] in numbers:
        return ids[0]
    return f"SELECT DISTINCT id FROM ({' UNION ALL '.join(ids or [_NO_ID])})"


def _counts(engine: Engine, events: list[Events], type: str, sql: str, partitions: int) -> tuple[int, ...]:
    """Ids of each partition, of rows (part, count). Raises DataError when one is missing, which has no partition."""
    counts = dict(engine.rows(sql))
    if None in counts:
        raise _missing_id(engine, events, type)
    return tuple(counts.get(part, 0) for part in range(partitions))


def occurring(events: list[Events], type: str) -> str:
    """SQL of the ids of a type, one for each place where it occurs; a missing id is among them."""
    rows = [
        f"SELECT {text(column)} AS id FROM {table} WHERE {where}" for table, column, where in _columns(events, type)
    ]
    return " UNION ALL ".join(rows or [_NO_ID])


def _columns(events: list[Events], type: str) -> list[tuple[str, str, str]]:
    """Table, column and condition of all ids of a type: a column of several relations is read once."""
    columns: dict[tuple[str, str], set[str]] = {}
    for part in events:
        for side in part.relation.sides.values():
            if side.type == type:
                columns.setdefault((part.source.table, side.column), set()).add(f"({part.condition})")
    return [
        (table, column, "true" if "(true)" in conditions else " OR ".join(sorted(conditions)))
        for (table, column), conditions in columns.items()
    ]


def _missing_id(engine: Engine, events: list[Events], type: str) -> Exception:
    for part in events:
        for side in part.relation.sides.values():
            if side.type != type:
                continue
            rows = f"FROM {part.source.table} WHERE ({part.condition}) AND {quoted(side.column)} IS NULL"
            if engine.row(f"SELECT count(*) {rows}")[0]:
                return missing_value(engine, part.source, side.column, part.condition)
    raise AssertionError(f"an id of type {type} is missing, but no row is without")
