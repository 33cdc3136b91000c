"""What `ranker.counts` have counted of a log, asked for rows: how often, and with what outcome, it has seen a value or
a pair of values on earlier days.

A row is shown what was known as its day (UTC) began (`count_log`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.embeddings import hash_ids
from ranker.config.columns import DAY, count_feature
from ranker.data.log.block import LogBlock
from ranker.data.tabular.count_table import Array, CountTable, Keys

DIRECTORY = "counts"
PRIOR_ROWS = 20  # of the global rate, that a smoothed rate counts beside the rows of its own
ALL: tuple[str, ...] = ()  # the columns of the count of all rows
_ODD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: makes a pair other than its reverse


@dataclass(frozen=True)
class Counts:
    """`tables` are those of `columns`, each one or two columns of a log, and before them that of all rows.

    `measures` are what is said of each (`LabelsConfig.counted`).
    """

    columns: tuple[tuple[str, ...], ...]
    measures: tuple[str, ...]
    tables: tuple[CountTable, ...]

    @classmethod
    def load(cls, columns: tuple[tuple[str, ...], ...], measures: tuple[str, ...], directory: Path) -> "Counts":
        """Those that lie in `<directory>/counts`. Raises DataError where they are not whole."""
        return cls(columns, measures, tuple(CountTable(stem) for stem in stems(directory, columns)))

    @property
    def features(self) -> tuple[str, ...]:
        """The numerics that `joined` makes, by their names."""
        return tuple(count_feature(columns, measure) for columns in self.columns for measure in self.measures)

    def joined(self, block: LogBlock, times: Array) -> LogBlock:
        """The rows (N,) of a block with columns `features`, as known when the days (UTC) of `times` (N,) began.

        `times` are epoch seconds. A column that the block has already stays as it is. Null where a row has no value in
        a counted column, and the rates where nothing was known of any row.
        """
        days = times // DAY
        overall = self.tables[0].before(np.zeros(len(days), np.uint64), days)
        table = block.table
        for columns, counted in zip(self.columns, self.tables[1:], strict=True):
            hashes, present = key_hashes(block, columns)
            found = _measured(counted.before(hashes, days), overall)
            for measure in self.measures:
                if (name := count_feature(columns, measure)) not in table.column_names:
                    known = present & np.isfinite(found[measure])
                    table = table.append_column(name, pa.array(np.where(known, found[measure], 0.0), mask=~known))
        return LogBlock(block.part, block.first, table, block.kept)


def stems(directory: Path, columns: Sequence[tuple[str, ...]]) -> list[Path]:
    """Where the tables lie: that of all rows, then those of `columns`."""
    return [directory / DIRECTORY / str(index) for index in range(1 + len(columns))]


def _measured(sums: Array, overall: Array) -> dict[str, Array]:
    """What may be said of a value (N,), by measure, of its sums (N, SUMS) and those of all rows."""
    impressions, clicks, ended, conversions = sums.T.astype(np.float64)
    all_impressions, all_clicks, all_ended, all_conversions = overall.T.astype(np.float64)
    return {
        "impressions": impressions,
        "clicks": clicks,
        "ctr_lift": _lift(clicks, impressions, all_clicks, all_impressions),
        "conversions": conversions,
        "cvr_lift": _lift(conversions, ended, all_conversions, all_ended),
    }


def _lift(positives: Array, rows: Array, all_positives: Array, all_rows: Array) -> Array:
    """A rate over the global one as of then, PRIOR_ROWS of which it is smoothed by: 1 where nothing is known of it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = all_positives / all_rows
        found: Array = (positives / expected + PRIOR_ROWS) / (rows + PRIOR_ROWS)
    return found


def key_hashes(block: LogBlock, columns: tuple[str, ...]) -> tuple[Keys, NDArray[np.bool_]]:
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
