"""Other sources that rows are looked up in: for the id of an edge, or to be left out."""

from dataclasses import replace

from artifacts.errors import ConfigError
from artifacts.expressions.engine import Engine, quoted, text
from partitioning.config.sections import RelationConfig, SideConfig
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


def remaining(
    engine: Engine, relation: RelationConfig, source: Source, sources: dict[str, Source], path: str
) -> tuple[Source, str | None]:
    """The source without the rows that another one has, too, and what follows FROM for those (None: there are none).

    Values are compared as text, as ids are, and no value is like no value. Raises ConfigError for columns of different
    types.
    """
    if relation.without is None or (other := sources.get(relation.without.source)) is None:
        return source, None
    columns = relation.without.columns
    require_same_types(columns, source, other, path)
    table = quoted(" ".join(("without", other.name, *columns)))
    listed = ", ".join(f"{text(column)} AS c{at}" for at, column in enumerate(columns))
    engine.run(f"CREATE TEMP TABLE IF NOT EXISTS {table} AS SELECT DISTINCT {listed} FROM {other.table}")
    same = " AND ".join(
        f"w.c{at} IS NOT DISTINCT FROM CAST(e.{quoted(column)} AS VARCHAR)" for at, column in enumerate(columns)
    )
    select, left, gone = "(SELECT e.* FROM ", f" e ANTI JOIN {table} w ON {same})", f" e SEMI JOIN {table} w ON {same})"
    remaining = replace(source, table=select + source.table + left, reader=select + source.reader + left)
    return remaining, select + source.table + gone


def require_same_types(columns: tuple[str, ...], source: Source, other: Source, path: str) -> None:
    """Raises ConfigError for columns that two sources do not have in the same types."""
    for column in columns:
        if (here := source.types[column]) != (there := other.types[column]):
            raise ConfigError(
                f"{path}.without.columns: '{column}' is {here} in source '{source.name}', but {there} in "
                f"'{other.name}'; give both the same types (graph.sources.<name>.types, time_column and time_unit)"
            )
