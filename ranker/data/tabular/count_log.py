"""Counts the rows of a log (`ranker.counts`) by day, into tables that tell what was known as a day (UTC) began.

Known are impressions and clicks of earlier days, and conversions of impressions whose attribution window had closed by
then (an impression that did not convert is only known to have not by then, so those that did do not count before
either). No row sees its own day, in whichever order the log is. The rows of test days are counted for later days, too,
as they are in production.
"""

import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from ranker.config.columns import DAY
from ranker.config.sections import RankerConfig
from ranker.data.log.block import LogBlock
from ranker.data.log.impression_log import ImpressionLog
from ranker.data.records import judged
from ranker.data.tabular.count_table import SUMS, Array, CountTableWriter
from ranker.data.tabular.counts import ALL, DIRECTORY, Counts, key_hashes, stems

COLLECTED = 1 << 20  # rows that all tables together hold in memory before they are sorted and written
LEAST_RUN = 1 << 16  # of a table


def count_log(log: ImpressionLog, directory: Path, progress: Callable[[str, float], None]) -> Counts:
    """Counts a log in `<directory>/counts`, of which nothing that was there before stays.

    Raises DataError as the log does.
    """
    remove_counts(directory)
    (directory / DIRECTORY).mkdir()
    done, total, config = 0, max(log.rows, 1), log.config
    places = stems(directory, config.counts)
    run = max(COLLECTED // len(places), LEAST_RUN)
    with ExitStack() as stack:
        writers = [stack.enter_context(CountTableWriter(place, run)) for place in places]
        for block in log.blocks(_columns(config)):
            _add(log, block, writers)
            done += len(block.table)
            progress("count", done / total)
        return Counts(config.counts, config.labels.counted, tuple(writer.finish() for writer in writers))


def remove_counts(directory: Path) -> None:
    """Removes earlier counts, which may be of ids to forget."""
    shutil.rmtree(directory / DIRECTORY, ignore_errors=True)


def _add(log: ImpressionLog, block: LogBlock, writers: Sequence[CountTableWriter]) -> None:
    """Counts the rows of a block: as an impression from the next day on, its conversion once that is known."""
    config, shown = log.config, log.times(block)
    unknown = np.full(len(shown), -1, np.int8)
    click = log.clicks(block) if config.labels.click else unknown
    conversion = log.conversions(block) if config.labels.conversion else unknown
    ended = judged("cvr", click, conversion)
    tomorrow = shown // DAY + 1
    closed = -(-(shown + int((config.labels.attribution_days or 0) * DAY)) // DAY)
    at_once = _sums(impressions=np.ones(len(shown), np.int64), clicks=click == 1)
    later = _sums(judged=ended, conversions=ended & (conversion == 1))
    for columns, writer in zip((ALL, *config.counts), writers, strict=True):
        hashes, present = key_hashes(block, columns)
        writer.add(hashes[present], tomorrow[present], at_once[present])
        ended_here = present & ended
        writer.add(hashes[ended_here], np.maximum(closed, tomorrow)[ended_here], later[ended_here])


def _sums(**given: Array) -> Array:
    """(N, SUMS), zeros where nothing is given."""
    found = np.zeros((len(next(iter(given.values()))), len(SUMS)), np.int64)
    for name, values in given.items():
        found[:, SUMS.index(name)] = values
    return found


def _columns(config: RankerConfig) -> list[str]:
    """What is read of the log to count it."""
    labels = config.labels
    told = [labels.click, labels.conversion, labels.conversion_time]
    return [config.time_column, *(name for name in told if name), *(name for one in config.counts for name in one)]
