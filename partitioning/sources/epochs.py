"""SQL of times: a column of any type that holds them, as epoch seconds or to the nanosecond.

What is no time becomes NULL. Of numbers by TRY, not by TRY_CAST, of which DuckDB 2.0.0 believes that it has a value for
every number of a Parquet file without nulls: a NaN was neither found nor counted.
"""

from artifacts.expressions.column_types import INTEGERS, NO_TYPE, UNSIGNED
from artifacts.expressions.engine import quoted
from partitioning.config.sections import TimeUnit
from partitioning.sources.values import time_of

_PER_SECOND = {"s": 1, "ms": 1000, "us": 1_000_000}
_WIDER = ("HUGEINT", "UBIGINT", "UHUGEINT")
_NANOSECONDS = ("TIMESTAMP_NS", "TIMESTAMPTZ_NS")


def needs_unit(kind: str) -> bool:
    """Whether values of a type are times only once the config says their unit."""
    return _is_whole(kind) or _has_fractions(kind)


def is_time(kind: str) -> bool:
    """Whether a type can hold times."""
    return needs_unit(kind) or kind in ("DATE", "VARCHAR", NO_TYPE) or kind.startswith("TIMESTAMP")


def epoch_of(column: str, unit: TimeUnit | None, kind: str) -> str:
    """SQL of a time column's epoch seconds; fractions are floored, where DuckDB's division would cut them off."""
    column = quoted(column)
    if _is_whole(kind) and unit:
        return _floored(_whole(column, kind), _PER_SECOND[unit])
    if kind == NO_TYPE:
        return "CAST(NULL AS BIGINT)"
    if kind in _NANOSECONDS:
        return _floored(f"epoch_ns({column})", 1_000_000_000)
    if kind == "VARCHAR" and unit:
        iso = _floored(f"epoch_us({_iso(column)})", 1_000_000)
        return f"coalesce({_floored(time_of(unit)[0].format(column), _PER_SECOND[unit])}, {iso})"
    if _has_fractions(kind) and unit:
        return _floored(f"TRY(CAST(floor({column}) AS BIGINT))", _PER_SECOND[unit])
    if kind == "VARCHAR":  # what is no time becomes NULL, which is reported
        column = _iso(column)
    return _floored(f"epoch_us({column})", 1_000_000)


def nanoseconds_of(column: str, unit: TimeUnit | None, kind: str) -> str:
    """SQL of a time column's nanoseconds since 1970; of numbers with fractions to the microsecond."""
    column = quoted(column)
    if _is_whole(kind) and unit:
        return f"CAST({_whole(column, kind)} AS HUGEINT) * {1_000_000_000 // _PER_SECOND[unit]}"
    if kind == NO_TYPE:
        return "CAST(NULL AS HUGEINT)"
    if kind in _NANOSECONDS:
        return f"CAST(epoch_ns({column}) AS HUGEINT)"
    if kind == "VARCHAR" and unit:
        return f"coalesce({_of_number(column, unit)}, {_of_microseconds(_iso(column))})"
    if _has_fractions(kind) and unit:
        return _of_number(column, unit)
    return _of_microseconds(_iso(column) if kind == "VARCHAR" else column)


def _is_whole(kind: str) -> bool:
    return kind in (*INTEGERS, *UNSIGNED)


def _whole(column: str, kind: str) -> str:
    """A whole number of 64 bits; of a wider type, what does not fit is no time."""
    cast = f"CAST({column} AS BIGINT)"
    return f"TRY({cast})" if kind in _WIDER else cast


def _has_fractions(kind: str) -> bool:
    """Whether numbers of a type can be epochs with fractions; those of 32 bits are minutes apart."""
    return kind == "DOUBLE" or kind.startswith("DECIMAL")


def _iso(column: str) -> str:
    return f"TRY_CAST({column} AS TIMESTAMP WITH TIME ZONE)"


def _of_microseconds(time: str) -> str:
    return f"CAST(epoch_us({time}) AS HUGEINT) * 1000"


def _of_number(column: str, unit: TimeUnit) -> str:
    """Rounded, since most fractions are not to be had in binary: 0.1 s would be a nanosecond too early."""
    return f"TRY(CAST(round(CAST({column} AS DOUBLE) * {1_000_000 // _PER_SECOND[unit]}) AS HUGEINT)) * 1000"


def _floored(value: str, divisor: int) -> str:
    if divisor == 1:
        return value
    return f"({value} // {divisor} - CAST({value} % {divisor} < 0 AS BIGINT))"
