"""The newest impressions of a user and of an ad in a log, found in one pass."""

from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from artifacts.errors import ConfigError
from artifacts.moment import YEAR_2200
from ranker.data.log.block import LogBlock
from ranker.data.log.parts import Part
from ranker.data.log.schemas import plain
from ranker.data.log.times import epoch_seconds_of
from ranker.data.log.where import Where

Row = dict[str, pa.Array]  # a value of each column, (1,), of its file's type: as another, a float32 is another text
BLOCK_ROWS = 1 << 16


def newest(
    parts: Sequence[Part],
    columns: Sequence[str],
    time: tuple[str, str],
    user: tuple[str, str],
    ad: tuple[str, str],
    where: Where | None = None,
) -> tuple[Row | None, Row | None, Row | None]:
    """The newest row of both, that of the user and that of the ad, each None where there is none.

    `time` is a column and the unit of its numbers, `user` and `ad` are a column and an id, as text. Rows stream, and
    those that `where` leaves out are no impressions. Raises ConfigError for columns that the log lacks, and DataError
    for files that cannot be read.
    """
    found: list[tuple[int, Row] | None] = [None, None, None]
    wanted = list(dict.fromkeys([*columns, time[0], user[0], ad[0], *(where.types if where else ())]))
    for part in parts:
        if lacking := [f"'{name}'" for name in wanted if name not in part.columns]:
            raise ConfigError(f"the ranker's log has no column {', '.join(lacking)}, which the scorer reads")
    with ExitStack() as stack:
        holds = stack.enter_context(where.opened()) if where else None
        for part in parts:
            first = 0
            for table in part.batches(wanted, BLOCK_ROWS):
                block = LogBlock(part.name, first, table)
                first += len(table)
                masks = [_is(block, *user), _is(block, *ad)]
                block, masks = _only(block, masks, masks[0] | masks[1])
                if holds is not None and len(block.table):
                    block, masks = _only(block, masks, holds(block.table, block.row))
                for at, mask in enumerate((masks[0] & masks[1], *masks)):
                    found[at] = _newer(found[at], block.only(mask), time)
    both, of_user, of_ad = (None if one is None else one[1] for one in found)
    return both, of_user, of_ad


def _is(block: LogBlock, column: str, id: str) -> np.ndarray:
    """Which rows (N,) have the id in a column."""
    same = pc.equal(block.ids(column, block.column(column)), pa.scalar(id, pa.large_string()))
    found: np.ndarray = same.fill_null(False).to_numpy(zero_copy_only=False)
    return found


def _only(block: LogBlock, masks: list[np.ndarray], mask: np.ndarray) -> tuple[LogBlock, list[np.ndarray]]:
    return block.only(mask), [one[mask] for one in masks]


def _newer(before: tuple[int, Row] | None, block: LogBlock, time: tuple[str, str]) -> tuple[int, Row] | None:
    """The last of the rows with the greatest time, unless there was a newer one before. One whose time cannot be is a
    bad row, which is no impression."""
    times = epoch_seconds_of(block, *time).fill_null(-1).to_numpy(zero_copy_only=False)
    times = np.where(times < YEAR_2200, times, -1)
    latest = int(times.max(initial=-1))
    if latest < 0 or (before is not None and before[0] > latest):
        return before
    at = len(times) - 1 - int(np.argmax(times[::-1]))
    return latest, {name: plain(block.column(name)[at : at + 1]) for name in block.table.column_names}
