"""Finds the row that an error message should name. Slow, and only ever called when something is wrong."""

from artifacts.errors import DataError
from artifacts.expressions.engine import Engine, quoted
from partitioning.sources.table import Source


def row_of(engine: Engine, source: Source, condition: str) -> str:
    """The first row that meets `condition` for an error message: "<file>, row <n>", rows counted from 1 without header.

    Without a row if none meets it.
    """
    file, row = map(quoted, source.place)
    rows = f"SELECT {file}, {row} FROM {source.reader} WHERE {condition} ORDER BY ALL LIMIT 1"
    for path, number in engine.rows(rows):
        return str(path) if number is None else f"{path}, row {number}"
    return source.label


def missing_value(engine: Engine, source: Source, column: str, condition: str) -> DataError:
    """The error for a row that is an edge but has no value in `column`."""
    where = f"({condition}) AND {quoted(column)} IS NULL"
    return DataError(
        f"{row_of(engine, source, where)}: no value in column '{column}'; expected one, "
        f'or where: "{column} IS NOT NULL" to leave such rows out'
    )
