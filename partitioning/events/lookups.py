"""Derived relations: an id of a source is looked up in another source, which gives the id of the edge."""

from dataclasses import replace

from partitioning.config.sections import RelationConfig, SideConfig
from partitioning.sources.engine import Engine, quoted, text
from partitioning.sources.table import Source


def derived(
    engine: Engine, relation: RelationConfig, source: Source, sources: dict[str, Source]
) -> tuple[RelationConfig, Source]:
    """The relation and its source with a column for the id of each side that has a `join`.

    A row becomes one row for each partner, and none where it has no partner. Each table of partners is made once.
    """
    for side, end in relation.sides.items():
        if end.join is None:
            continue
        partners, column = _partners(engine, end, sources[end.join.source]), f"{end.column} -> {end.join.to} ({side})"
        select = f"(SELECT e.*, p.id AS {quoted(column)} FROM "
        join = f" e JOIN {partners} p ON p.partner = CAST(e.{quoted(end.column)} AS VARCHAR))"
        source = replace(source, table=select + source.table + join, reader=select + source.reader + join)
        relation = relation.model_copy(update={side.value: end.model_copy(update={"column": column, "join": None})})
    return relation, source


def _partners(engine: Engine, end: SideConfig, source: Source) -> str:
    """The table (partner, id) of the pairs in the source of a join."""
    assert end.join is not None
    join = end.join
    table = quoted(f"join {join.source} {join.column} {join.to}")
    engine.run(
        f"CREATE TEMP TABLE IF NOT EXISTS {table} AS SELECT DISTINCT {text(join.column)} AS partner, "
        f"{text(join.to)} AS id FROM {source.table} "
        f"WHERE {quoted(join.column)} IS NOT NULL AND {quoted(join.to)} IS NOT NULL"
    )
    return table
