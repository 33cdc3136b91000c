"""Checks that event times are present and plausible."""

from datetime import datetime, timezone

from artifacts.errors import DataError
from partitioning.events.events import Events
from partitioning.sources.diagnosis import missing_value, row_of
from partitioning.sources.engine import Engine, quoted
from partitioning.sources.table import Source

_YEAR_2200 = int(datetime(2200, 1, 1, tzinfo=timezone.utc).timestamp())
_SECONDS_PER_YEAR = 31_556_952


def check_times(engine: Engine, events: list[Events]) -> None:
    """Raises DataError when an event has no time, or one outside 1970 to 2200."""
    for source in {e.source.table: e.source for e in events if e.source.time}.values():
        # Rows that no relation uses may have any time: only if some row is odd, look at the events alone.
        if _odd(engine, source, "true"):
            condition = " OR ".join(f"({e.condition})" for e in events if e.source.table == source.table)
            if odd := _odd(engine, source, condition):
                raise _error(engine, source, condition, odd)


def _odd(engine: Engine, source: Source, condition: str) -> str | None:
    """SQL condition of the rows whose time is wrong, None when there are none."""
    low, high, missing = engine.row(
        f"SELECT min({source.time}), max({source.time}), count(*) - count({source.time}) "
        f"FROM {source.table} WHERE {condition}"
    )
    if missing:
        return f"{source.time} IS NULL"
    if high is not None and high >= _YEAR_2200:
        return f"{source.time} = {high}"
    return f"{source.time} = {low}" if low is not None and low < 0 else None


def _error(engine: Engine, source: Source, condition: str, odd: str) -> DataError:
    column = source.config.time_column or ""
    if odd.endswith("IS NULL"):
        unreadable = f"({condition}) AND {source.time} IS NULL AND {quoted(column)} IS NOT NULL"
        values = engine.rows(f"SELECT any_value({quoted(column)}) FROM {source.table} WHERE {unreadable}")
        if values[0][0] is None:
            return missing_value(engine, source, column, condition)
        where = row_of(engine, source, unreadable)
        return DataError(f"{where}: column '{column}' has '{values[0][0]}'; expected an ISO date or time")
    seconds = int(odd.rpartition(" ")[2])
    year = 1970 + seconds // _SECONDS_PER_YEAR
    unit = source.config.time_unit
    hint = f"is graph.sources.{source.name}.time_unit really '{unit}'?" if unit else "check the column"
    (value,) = engine.row(f"SELECT any_value({quoted(column)}) FROM {source.table} WHERE {odd}")
    where = row_of(engine, source, f"({condition}) AND {odd}")
    return DataError(f"{where}: column '{column}' has {value}, the year {year}; expected 1970 to 2200, {hint}")
