"""Tables in memory: pandas DataFrames, Arrow tables, and whatever else speaks the Arrow PyCapsule interface."""

from typing import Protocol

import pyarrow as pa

from artifacts.errors import ConfigError, DataError


class Frame(Protocol):
    """A table of named and typed columns; those of pandas (2.2 and later), Arrow, Polars and DuckDB are."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


def arrow_table(name: str, frame: Frame) -> pa.Table:
    """Returns a frame as an Arrow table, without a copy where the frame is Arrow's own.

    `name` is what errors call it. Raises ConfigError for what is no frame, DataError for one whose columns have no
    type of Arrow's (Python objects of several kinds) or have one name twice.
    """
    if not hasattr(frame, "__arrow_c_stream__"):
        raise ConfigError(f"{name}: expected a pandas DataFrame or an Arrow table, found {type(frame).__name__}")
    try:
        table = pa.table(frame)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(f"{name}: cannot become an Arrow table ({' '.join(map(str, error.args))})") from error
    if twice := sorted({column for column in table.column_names if table.column_names.count(column) > 1}):
        raise DataError(f"{name}: column '{twice[0]}' occurs twice")
    return table
