"""`ranker.counts`: how often, and with what outcome, the log has seen a value or a pair of values on earlier days.

A row is shown what was known as its day (UTC) began: impressions and clicks of earlier days, and conversions of
impressions whose attribution window had closed by then (an impression that did not convert is only known to have not by
then, so those that did do not count before either). No row sees its own day, in whichever order the log is. The rows of
test days are counted for later days, too, as they are in production.
"""

import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.embeddings import hash_ids
from ranker.config.columns import DAY
from ranker.config.sections import RankerConfig
from ranker.data.log.block import LogBlock
from ranker.data.log.impression_log import ImpressionLog
from ranker.data.records import judged
from ranker.data.tabular.count_table import SUMS, Array, CountTable, CountTableWriter, Keys

DIRECTORY = "counts"
COLLECTED = 1 << 20  # rows that all tables together hold in memory before they are sorted and written
LEAST_RUN = 1 << 16  # of a table
PRIOR_ROWS = 20  # of the global rate, that a smoothed rate counts beside the rows of its own
ALL: tuple[str, ...] = ()  # the columns of the count of all rows
_ODD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: makes a pair other than its reverse


@dataclass(frozen=True)
class Counts:
    """The counts of a config, made from a log. `tables` are those of `columns`, and before them that of all rows."""

    config: RankerConfig
    tables: tuple[CountTable, ...]

    @classmethod
    def of(cls, log: ImpressionLog, directory: Path, progress: Callable[[str, float], None]) -> "Counts":
        """Counts a log in `<directory>/counts`, of which nothing that was there before stays.

        Raises DataError as the log does.
        """
        place = remove(directory)
        place.mkdir()
        done, total = 0, max(log.rows, 1)
        stems = [_stem(place, index) for index in _places(log.config)]
        run = max(COLLECTED // len(stems), LEAST_RUN)
        with ExitStack() as stack:
            writers = [stack.enter_context(CountTableWriter(stem, run)) for stem in stems]
            for block in log.blocks(_columns(log.config)):
                _add(log, block, writers)
                done += len(block.table)
                progress("count", done / total)
            return cls(log.config, tuple(writer.finish() for writer in writers))

    @classmethod
    def load(cls, config: RankerConfig, directory: Path) -> "Counts":
        """Those that `of` has made of the same config. Raises DataError where they are not whole."""
        return cls(config, tuple(CountTable(_stem(directory / DIRECTORY, index)) for index in _places(config)))

    def joined(self, block: LogBlock, days: Array) -> LogBlock:
        """The rows (N,) of a block with columns `config.count_features`, as known when `days` (N,) since 1970 began.

        Null where a row has no value in a counted column, and the rates where nothing was known of any row.
        """
        overall = self.tables[0].before(np.zeros(len(days), np.uint64), days)
        table = block.table
        for columns, counted in zip(self.config.counts, self.tables[1:], strict=True):
            hashes, present = _hashes(block, columns)
            for measure, values in _measures(self.config, counted.before(hashes, days), overall).items():
                known = present & np.isfinite(values)
                column = pa.array(np.where(known, values, 0.0), mask=~known)
                table = table.append_column(self.config.count_feature(columns, measure), column)
        return LogBlock(block.part, block.first, table, block.kept)


def remove(directory: Path) -> Path:
    """Removes earlier counts, which may be of ids to forget; returns where they were."""
    place = directory / DIRECTORY
    shutil.rmtree(place, ignore_errors=True)
    return place


def days_of(log: ImpressionLog, block: LogBlock) -> Array:
    """The day (UTC) of each row, since 1970."""
    return log.times(block) // DAY


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
        hashes, present = _hashes(block, columns)
        writer.add(hashes[present], tomorrow[present], at_once[present])
        ended_here = present & ended
        writer.add(hashes[ended_here], np.maximum(closed, tomorrow)[ended_here], later[ended_here])


def _sums(**given: Array) -> Array:
    """(N, SUMS), zeros where nothing is given."""
    found = np.zeros((len(next(iter(given.values()))), len(SUMS)), np.int64)
    for name, values in given.items():
        found[:, SUMS.index(name)] = values
    return found


def _measures(config: RankerConfig, sums: Array, overall: Array) -> dict[str, Array]:
    """Each of `labels.counted` (N,) of the sums (N, SUMS) of a value, and of those of all rows."""
    impressions, clicks, ended, conversions = sums.T.astype(np.float64)
    all_impressions, all_clicks, all_ended, all_conversions = overall.T.astype(np.float64)
    found = {
        "impressions": impressions,
        "clicks": clicks,
        "ctr_lift": _lift(clicks, impressions, all_clicks, all_impressions),
        "conversions": conversions,
        "cvr_lift": _lift(conversions, ended, all_conversions, all_ended),
    }
    return {name: found[name] for name in config.labels.counted}


def _lift(positives: Array, rows: Array, all_positives: Array, all_rows: Array) -> Array:
    """A rate over the global one as of then, PRIOR_ROWS of which it is smoothed by: 1 where nothing is known of it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = all_positives / all_rows
        found: Array = (positives / expected + PRIOR_ROWS) / (rows + PRIOR_ROWS)
    return found


def _hashes(block: LogBlock, columns: tuple[str, ...]) -> tuple[Keys, NDArray[np.bool_]]:
    """A hash of each row's values in the columns, (N,), and which rows have a value in all of them."""
    rows = len(block.table)
    hashes, present = np.zeros(rows, np.uint64), np.ones(rows, np.bool_)
    for name in columns:
        values = block.cast(name, block.column(name), pa.large_string(), "single values").dictionary_encode()
        codes = values.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        found = np.append(hash_ids(values.dictionary), np.uint64(0))
        hashes = hashes * _ODD + found[codes]
        present &= codes >= 0
    return hashes, present


def _columns(config: RankerConfig) -> list[str]:
    """What is read of the log to count it."""
    labels = config.labels
    told = [labels.click, labels.conversion, labels.conversion_time]
    return [config.time_column, *(name for name in told if name), *(name for one in config.counts for name in one)]


def _places(config: RankerConfig) -> range:
    return range(1 + len(config.counts))


def _stem(place: Path, index: int) -> Path:
    return place / str(index)
