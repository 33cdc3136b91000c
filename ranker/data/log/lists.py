"""List columns, unrolled: where their values go in a matrix, and when the events that they list happened."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from artifacts.errors import DataError
from artifacts.moment import YEAR_1990
from ranker.data.log.schemas import is_list

AGE_BUCKETS = 20  # up to a year; older events share the last one
BUCKET_SECONDS = 60  # the first bucket

Ages = NDArray[np.float64]
Places = tuple[Any, Any]


class Block(Protocol):
    """Rows of a log."""

    @property
    def part(self) -> str: ...

    def column(self, name: str) -> pa.Array: ...

    def row(self, mask: NDArray[np.bool_]) -> str: ...


def unrolled(column: pa.Array, cap: int) -> tuple[Places, pa.Array, int]:
    """Where in an (N, cap) matrix the values of a column of lists go, the values, and how many lists were cut.

    Lists are latest first: of one with more than `cap` values, the first are left.
    """
    lengths = _lengths(column)
    starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    rows, places, values = np.repeat(np.arange(len(column)), lengths), np.arange(len(starts)) - starts, column.flatten()
    if cut := int((lengths > cap).sum()):
        latest = places < cap
        rows, places, values = rows[latest], places[latest], values.filter(pa.array(latest))
    return (rows, places), values, cut


def event_ages(
    block: Block, ids: str, times: str, cap: int, shown: NDArray[np.int64], seconds: Callable[[pa.Array], pa.Array]
) -> Ages:
    """How long before its impression each listed event happened, (N, cap) seconds, NaN where that is not known.

    `ids` and `times` are columns of lists, `shown` (N,) epoch seconds, and `seconds` makes such of times. Raises
    DataError where the two lists of a row differ in length.
    """
    listed, happened = (_lists(block, name) for name in (ids, times))
    counts, expected = _lengths(happened), _lengths(listed)
    other = counts != expected
    if other.any():
        at = int(np.argmax(other))
        told = f"{times} has {counts[at]} times for the {expected[at]} ids of {ids}"
        raise DataError(f"{block.row(other)}: {told}, expected as many (ranker.slots.{ids}.times)")
    places, values, _ = unrolled(happened, cap)
    ages = np.full((len(shown), cap), np.nan)
    ages[places] = shown[places[0]] - seconds(values).cast(pa.float64()).to_numpy(zero_copy_only=False)
    return ages


def wrong_ages(times: str, ages: Ages, shown: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """The rows (N,) whose ages (N, W) cannot be, by what is wrong with them; `shown` (N,) are epoch seconds."""
    oldest_so_far = np.fmax.accumulate(np.nan_to_num(ages, nan=-np.inf), axis=1)
    since_1990 = np.where(shown >= YEAR_1990, shown - YEAR_1990, np.inf)  # a log may count from 0
    return {
        f"{times} has a time after the impression's": np.any(ages < 0, axis=1),
        f"{times} has a time before 1990": np.any(ages > since_1990[:, None], axis=1),
        f"{times} is not latest first": np.any(ages < oldest_so_far, axis=1),
    }


def age_buckets(ages: Ages) -> NDArray[np.uint8]:
    """Ages (N, W) in seconds as buckets 1 to AGE_BUCKETS, each twice as long as the one before; 0 for NaN."""
    buckets = 1 + np.floor(np.log2(1 + np.nan_to_num(ages) / BUCKET_SECONDS))
    return np.where(np.isnan(ages), 0, np.minimum(buckets, AGE_BUCKETS)).astype(np.uint8)


def _lists(block: Block, name: str) -> pa.Array:
    column = block.column(name)
    if not is_list(column.type):
        raise DataError(f"{block.part}: column {name} is {column.type}, expected lists")
    return column


def _lengths(column: pa.Array) -> NDArray[np.int64]:
    found: NDArray[np.int64] = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False)
    return found
