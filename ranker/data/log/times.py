"""When impressions were shown and listed events happened, in epoch seconds."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from artifacts.errors import DataError
from artifacts.moment import YEAR_2200
from ranker.config.columns import SlotConfig
from ranker.data.log.block import LogBlock
from ranker.data.log.lists import Ages, event_ages, wrong_ages

_TIMES = (
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_decimal,
    pa.types.is_timestamp,
    pa.types.is_null,
)  # a duration or a time of day is none
UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def impression_times(block: LogBlock, name: str, unit: str) -> NDArray[np.int64]:
    """When each impression was shown, epoch seconds (N,), by the column `name`.

    Raises DataError for a missing one, and for one outside 1970 to 2200.
    """
    values = epoch_seconds_of(block, name, unit)
    if values.null_count:
        missing = values.is_null().to_numpy(zero_copy_only=False)
        raise DataError(f"{block.row(missing)}: {name} is missing, expected a time")
    times: NDArray[np.int64] = values.to_numpy(zero_copy_only=False)
    odd = (times < 0) | (times >= YEAR_2200)
    if odd.any():
        found = block.column(name)[int(np.argmax(odd))]
        expected = f"a time in 1970 to 2200 (ranker.time_unit: {unit})"
        raise DataError(f"{block.row(odd)}: {name} is {found}, expected {expected}")
    return times


def list_ages(block: LogBlock, name: str, slot: SlotConfig, shown: NDArray[np.int64], unit: str) -> Ages:
    """How long before its impression each event of a list happened, (N, W) seconds, NaN where that is not known.

    `shown` (N,) are epoch seconds. Nothing is said of ages that cannot be.
    """
    times, cap = slot.times, slot.cap
    assert times is not None and cap is not None

    def seconds(values: pa.Array) -> pa.Array:
        return _epoch_seconds(block, times, values, unit)

    return event_ages(block, name, times, cap, shown, seconds)


def checked_ages(block: LogBlock, name: str, slot: SlotConfig, shown: NDArray[np.int64], unit: str) -> Ages:
    """The same. Raises DataError for an event after its impression, and for a list that is not latest first."""
    found = list_ages(block, name, slot, shown, unit)
    assert slot.times is not None
    for reason, rows in wrong_ages(slot.times, found, shown).items():
        if rows.any():
            raise DataError(f"{block.row(rows)}: {reason} (ranker.slots.{name}.times)")
    return found


def epoch_seconds_of(block: LogBlock, name: str, unit: str) -> pa.Array:
    """A column of times as epoch seconds, fractions floored, nulls kept: numbers in `unit`, timestamps, or ISO text."""
    return _epoch_seconds(block, name, block.column(name), unit)


def _epoch_seconds(block: LogBlock, name: str, column: pa.Array, unit: str) -> pa.Array:
    """Times of the column `name`, which may be those of its lists."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = _parsed(block, name, column)
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("s"))
    if not any(is_kind(column.type) for is_kind in _TIMES):
        raise DataError(f"{block.part}: column {name} is {column.type}, expected times")
    if pa.types.is_timestamp(column.type):
        unit = column.type.unit
        column = column.cast(pa.int64())
    if pa.types.is_float32(column.type) or pa.types.is_float16(column.type):
        raise DataError(f"{block.part}: column {name} is {column.type}, in which times lie minutes apart")
    if pa.types.is_floating(column.type):
        column = pc.floor(pc.if_else(pc.is_finite(column), column, None))
    whole = block.cast(name, column, pa.int64(), "times")
    missing = whole.is_null().to_numpy(zero_copy_only=False)
    return pa.array(whole.fill_null(0).to_numpy(zero_copy_only=False) // UNITS[unit], pa.int64(), mask=missing)


def _parsed(block: LogBlock, name: str, column: pa.Array) -> pa.Array:
    """ISO text as timestamps; without a zone it is UTC."""
    try:
        return column.cast(pa.timestamp("us"))
    except pa.ArrowInvalid:
        return block.cast(name, column, pa.timestamp("us", "UTC"), "ISO dates or times, all with a zone or all without")
