"""The SQL that turns events into edges: each id is replaced by its partition and offset."""

from collections.abc import Iterator
from dataclasses import dataclass

from partitioning.edges.key import KeyLayout
from partitioning.entities.entity_map import EntityMap
from partitioning.events.events import DRAWN, Events
from partitioning.events.relations import NamedRelation, relation_table
from partitioning.sources.engine import Engine, text


@dataclass(frozen=True)
class Grid:
    """The buckets of the graph and how an edge is packed into a key."""

    lhs_partitions: int
    rhs_partitions: int
    layout: KeyLayout

    @classmethod
    def of(cls, relations: list[NamedRelation], entities: dict[str, EntityMap]) -> "Grid":
        lhs = [entities[relation.config.lhs.type].counts for relation in relations]
        rhs = [entities[relation.config.rhs.type].counts for relation in relations]
        return cls(
            max(map(len, lhs)), max(map(len, rhs)), KeyLayout.of(len(relations), max(map(max, lhs)), max(map(max, rhs)))
        )

    @property
    def buckets(self) -> int:
        return self.lhs_partitions * self.rhs_partitions


def edge_queries(
    engine: Engine,
    events: list[Events],
    relations: list[NamedRelation],
    entities: dict[str, EntityMap],
    grid: Grid,
    extra: dict[str, str],
) -> Iterator[str]:
    """One query for each pair of entity types, so that each map is loaded as seldom as possible.

    Columns: bucket, split, time (of training events), key, and `extra` (SQL by name).
    """
    rows: dict[tuple[str, str], list[str]] = {}
    for part in events:
        if sql := _events(engine, part, relations):
            rows.setdefault((part.relation.lhs.type, part.relation.rhs.type), []).append(sql)
    layout = grid.layout
    more = "".join(f", {sql} AS {name}" for name, sql in extra.items())
    for (lhs, rhs), parts in rows.items():
        yield (
            f"SELECT CAST(l.part * {grid.rhs_partitions} + r.part AS INTEGER) AS bucket, split, time, "
            f"(CAST(rel AS UBIGINT) << {layout.lhs_bits + layout.rhs_bits}) | "
            f"(CAST(l.place AS UBIGINT) << {layout.rhs_bits}) | CAST(r.place AS UBIGINT) AS key"
            f"{more} FROM ({' UNION ALL '.join(parts)}) e "
            f"JOIN {entities[lhs].places} l ON l.id = e.lhs JOIN {entities[rhs].places} r ON r.id = e.rhs"
        )


def _events(engine: Engine, events: Events, relations: list[NamedRelation]) -> str | None:
    """SQL of (rel, lhs, rhs, split, time, moment, units) of a relation's rows; `time` only of training events."""
    indices = [index for index, relation in enumerate(relations) if relation.declared == events.declared]
    if not indices:
        return None
    time = f"CASE WHEN {events.split} IN (0, {DRAWN}) THEN {events.source.time} END" if events.source.time else "NULL"
    columns = (
        f"{events.id('lhs')} AS lhs, {events.id('rhs')} AS rhs, CAST({events.split} AS UTINYINT) AS split, "
        f"CAST({time} AS BIGINT) AS time, CAST({events.moment} AS BIGINT) AS moment, "
        f"CAST({events.weight} AS BIGINT) AS units"
    )
    rows = f"FROM {events.source.table} WHERE {events.condition}"
    if not events.relation.relation_column:
        return f"SELECT {indices[0]} AS rel, {columns} {rows}"
    names = relation_table(engine, events.declared, relations)
    return (
        f"SELECT n.rel, e.* EXCLUDE (relation) FROM (SELECT {text(events.relation.relation_column)} AS relation, "
        f"{columns} {rows}) e JOIN {names} n ON n.relation_name = e.relation"
    )
