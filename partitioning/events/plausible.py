"""Times of a source that can hardly be meant: missing ones, another unit, a 0 in place of none."""

from datetime import datetime, timezone
from typing import NamedTuple

from artifacts.errors import ConfigError, DataError
from artifacts.expressions.engine import Engine, quoted
from artifacts.moment import YEAR_1990, YEAR_2200
from partitioning.sources.diagnosis import missing_value, row_of
from partitioning.sources.table import Source

_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000}
_SECONDS_PER_YEAR = 31_556_952


class OddTime(NamedTuple):
    """SQL condition of rows whose time is wrong, epoch seconds of one (None: it has none), and what was expected."""

    condition: str
    seconds: int | None
    expected: str


def odd_time(engine: Engine, source: Source, condition: str) -> OddTime | None:
    """What is odd about the times of rows; None if nothing is."""
    low, high, missing = engine.row(
        f"SELECT min({source.time}), max({source.time}), count(*) - count({source.time}) "
        f"FROM {source.table} WHERE {condition}"
    )
    return odd_between(source, low, high, missing)


def odd_between(source: Source, low: int | None, high: int | None, missing: int) -> OddTime | None:
    """What is odd about times, epoch seconds, from the lowest to the highest, and how many rows have none.

    Times lie in 1970 to 2200. Before 1990 lie those of old data, but neither 1970-01-01 00:00:00 nor, where times are
    numbers, anything beside times after 1990: there it is a default, or a number in another unit.
    """
    if missing:
        return OddTime(f"{source.time} IS NULL", None, "")
    if low is None or high is None:
        return None
    if high >= YEAR_2200 or low < 0:
        seconds = high if high >= YEAR_2200 else low
        return OddTime(f"{source.time} = {seconds}", seconds, "1970 to 2200")
    if coarser := _coarser(source, low, high):
        return OddTime("true", high, f"graph.sources.{source.name}.time_unit to be '{coarser}'")
    if high >= YEAR_1990 and (low == 0 or (source.config.time_unit and low < YEAR_1990)):
        expected = f"times like the latest, of {_year(high)}, or a where that leaves such rows out"
        return OddTime(f"{source.time} = {low}", low, expected)
    return None


def _coarser(source: Source, low: int, high: int) -> str | None:
    """The coarser unit in which all times lie after 1990, if in that of the config none does."""
    unit = source.config.time_unit
    for coarser, per_second in _PER_SECOND.items():
        if unit is None or per_second >= _PER_SECOND[unit]:
            return None
        factor = _PER_SECOND[unit] // per_second
        if high < YEAR_1990 <= low * factor and high * factor < YEAR_2200:
            return coarser
    return None


def _year(seconds: int) -> int:
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).year
    except (ValueError, OverflowError, OSError):
        return 1970 + seconds // _SECONDS_PER_YEAR


def time_error(engine: Engine, source: Source, condition: str, odd: OddTime) -> ConfigError | DataError:
    """The error that names the first row with an odd time, or the key of the config if all have a coarser unit."""
    column = source.config.time_column or ""
    if odd.seconds is None:
        unreadable = f"({condition}) AND {source.time} IS NULL AND {quoted(column)} IS NOT NULL"
        values = engine.rows(f"SELECT any_value({quoted(column)}) FROM {source.table} WHERE {unreadable}")
        if values[0][0] is None:
            return missing_value(engine, source, column, condition)
        where = row_of(engine, source, unreadable)
        unit = source.config.time_unit
        expected = "a number, or an ISO date or time" if unit else "an ISO date or time"
        return DataError(f"{where}: column '{column}' has '{values[0][0]}'; expected {expected}")
    unit = source.config.time_unit
    hint = f"; is graph.sources.{source.name}.time_unit really '{unit}'?" if unit and odd.condition != "true" else ""
    rows = f"({condition}) AND {odd.condition}"
    (value,) = engine.row(f"SELECT CAST(any_value({quoted(column)}) AS VARCHAR) FROM {source.table} WHERE {rows}")
    where = row_of(engine, source, rows)
    told = f"{where}: column '{column}' has {value}, the year {_year(odd.seconds)}; expected {odd.expected}{hint}"
    return ConfigError(told) if odd.condition == "true" else DataError(told)
