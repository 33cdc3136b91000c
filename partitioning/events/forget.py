"""Entities that must leave the graph: a list of (type, id)."""

from artifacts.errors import DataError
from artifacts.expressions.engine import Engine, literal, quoted, text
from artifacts.section import did_you_mean
from partitioning.config.sections import GraphConfig
from partitioning.sources.diagnosis import row_of
from partitioning.sources.table import Source

TABLE = "forgotten"  # type, id


def read_forgotten(engine: Engine, config: GraphConfig, sources: dict[str, Source]) -> bool:
    """Makes the table of forgotten entities if the config names a list. Raises DataError for a type it does not know.

    Rows without an id are refused, too: nobody could say who asked to be forgotten.
    """
    if config.forget is None:
        return False
    source, type, id = sources[config.forget.source], config.forget.type_column, config.forget.column
    for column in (type, id):
        if engine.row(f"SELECT count(*) FROM {source.table} WHERE {quoted(column)} IS NULL")[0]:
            where = row_of(engine, source, f"{quoted(column)} IS NULL")
            raise DataError(f"{where}: no value in column '{column}' of the list of entities to forget")
    for (name,) in engine.rows(f"SELECT DISTINCT {text(type)} FROM {source.table} ORDER BY 1"):
        if name not in config.entities:
            where = row_of(engine, source, f"{text(type)} = {literal(name)}")
            raise DataError(f"{where}: unknown entity type '{name}'{did_you_mean(name, list(config.entities))}")
    engine.run(
        f"CREATE TEMP TABLE {TABLE} AS SELECT DISTINCT {text(type)} AS type, {text(id)} AS id FROM {source.table}"
    )
    return True


def forget_row(engine: Engine, config: GraphConfig, sources: dict[str, Source], type: str, id: str) -> str:
    """File and row of an entry of the list."""
    assert config.forget is not None
    entry = f"{text(config.forget.type_column)} = {literal(type)} AND {text(config.forget.column)} = {literal(id)}"
    return row_of(engine, sources[config.forget.source], entry)


def forgotten_ids(type: str) -> str:
    """SQL of the ids of a type that must leave."""
    return f"SELECT id FROM {TABLE} WHERE type = {literal(type)}"
