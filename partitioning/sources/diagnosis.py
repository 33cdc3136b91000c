"""Finds the row that an error message should name. Slow, and only ever called when something is wrong."""

from artifacts.errors import DataError
from partitioning.sources.engine import Engine, quoted
from partitioning.sources.table import Source


def first_row(engine: Engine, source: Source, condition: str) -> tuple[str, int] | None:
    """File and row (from 1, not counting a header) of the first row that meets `condition`."""
    engine.run("SET threads = 1")  # row numbers of text follow the order in which it is read
    rows = engine.rows(f"SELECT filename, row_in_file FROM {source.reader} WHERE {condition} LIMIT 1")
    return (str(rows[0][0]), int(rows[0][1])) if rows else None


def row_of(engine: Engine, source: Source, condition: str) -> str:
    """Text for an error message: "<file>, row <n>"; without a row if none meets `condition`."""
    found = first_row(engine, source, condition)
    return f"{found[0]}, row {found[1]}" if found else source.label


def missing_value(engine: Engine, source: Source, column: str, condition: str) -> DataError:
    """The error for a row that is an edge but has no value in `column`."""
    where = f"({condition}) AND {quoted(column)} IS NULL"
    return DataError(
        f"{row_of(engine, source, where)}: no value in column '{column}'; expected one, "
        f'or where: "{column} IS NOT NULL" to leave such rows out'
    )
