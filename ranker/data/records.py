"""Impressions as fixed-size records on disk: made once, then read by every arm, seed and epoch.

prepared/
  train.bin  valid.bin  test.bin     records of `record_type`, in the order of the log
  summary.json                       what was found on the way (class Summary)
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifacts.errors import DataError
from artifacts.files.json_file import read_json
from artifacts.files.publish import write_json

SPLITS = ("train", "valid", "test")
READ_ROWS = 1 << 12  # records read at a time: what a shuffle moves together

Records = NDArray[Any]


def record_type(numerics: int, categoricals: int, segments: int, tokens: int, ages: int, exports: int) -> np.dtype[Any]:
    """One impression; labels are -1 where unknown, `ages` are buckets, `rows` has one layer per export."""
    return np.dtype(
        [
            ("click", "i1"),
            ("conversion", "i1"),
            ("user", "<u4"),
            ("segments", "?", (segments,)),
            ("numerics", "<f4", (numerics,)),
            ("categoricals", "<i4", (categoricals,)),
            ("hashes", "<u4", (tokens,)),
            ("ages", "u1", (ages,)),
            ("rows", "<i4", (exports, tokens)),
        ]
    )


def judged(task: str, click: NDArray[np.int8], conversion: NDArray[np.int8]) -> NDArray[np.bool_]:
    """The rows (N,) that a task is judged on: all impressions for ctr, clicks whose outcome is known for cvr.

    Where clicks are not known, a conversion is judged on every impression.
    """
    return click >= 0 if task == "ctr" else (conversion >= 0) & (click != 0)


def positive(records: Records) -> NDArray[np.bool_]:
    """Rows (N,) with a click; with a conversion, where the log knows of no clicks."""
    return (records["click"] == 1) | ((records["click"] < 0) & (records["conversion"] == 1))


@dataclass(frozen=True)
class Summary:
    """What preparing the log has found. `key` says what it was prepared from; `counts` are by split."""

    key: str
    shape: dict[str, int]  # the arguments of `record_type`
    vocabularies: list[int]  # codes of each categorical
    missing: list[bool]  # numerics that were missing in some training row
    counts: dict[str, dict[str, int]]  # rows, clicks, and of the rows that cvr is judged on: conversions, known
    left_out: int  # rows of the log that are no impressions by `ranker.where`
    counted: list[str]  # the last numerics, which `ranker.counts` makes
    windows: dict[str, str]
    match_rates: dict[str, dict[str, dict[str, int | float]]]  # by export and slot; counts stay whole
    mended: dict[str, int]  # values that were not taken as they are, by what was done

    def save(self, directory: Path) -> None:
        write_json(directory / "summary.json", asdict(self))

    @classmethod
    def load(cls, directory: Path, key: str) -> "Summary | None":
        """What is there, if it was prepared from the same things."""
        try:
            summary = read_json(directory / "summary.json", cls, "what preparing the log has found")
        except DataError:
            return None
        return summary if summary.key == key and summary._fits(directory) else None

    def _fits(self, directory: Path) -> bool:
        """Whether the records of every split are there, none more and none less."""
        size = record_type(**self.shape).itemsize
        paths = {directory / f"{name}.bin": counts["rows"] * size for name, counts in self.counts.items()}
        return all(path.is_file() and path.stat().st_size == expected for path, expected in paths.items())


@dataclass(frozen=True)
class Split:
    """The records of one split, of which `positives` are (see `positive`)."""

    path: Path
    dtype: np.dtype[Any]
    positives: int

    @classmethod
    def of(cls, directory: Path, name: str, summary: Summary) -> "Split":
        counts = summary.counts[name]
        return cls(directory / f"{name}.bin", record_type(**summary.shape), counts["clicks"] or counts["conversions"])

    def __len__(self) -> int:
        return self.path.stat().st_size // self.dtype.itemsize

    def expected_rows(self, keep_negatives: float) -> float:
        """About how many rows `shuffled` yields."""
        return self.positives + keep_negatives * (len(self) - self.positives)

    def read(self, first: int, count: int) -> Records:
        """Records `first` to `first + count`, (N,): read, not mapped, so that the page cache is all they leave."""
        return np.fromfile(self.path, self.dtype, count, offset=first * self.dtype.itemsize)

    def batches(self, size: int) -> Iterator[Records]:
        """All records in the log's order."""
        for first in range(0, len(self), size):
            yield self.read(first, size)

    def shuffled(self, rng: np.random.Generator, buffer_rows: int, keep_negatives: float) -> Iterator[Records]:
        """All records in buffers: stretches of the log in random order, rows in random order within a buffer.

        Of the rows without a click (without a conversion, where clicks are not known), a random share
        `keep_negatives` stays.
        """
        starts = rng.permutation(np.arange(0, len(self), READ_ROWS))
        in_buffer = max(buffer_rows // READ_ROWS, 1)
        for first in range(0, len(starts), in_buffer):
            records = np.concatenate([self.read(start, READ_ROWS) for start in starts[first : first + in_buffer]])
            if keep_negatives < 1:
                records = records[positive(records) | (rng.random(len(records)) < keep_negatives)]
            yield records[rng.permutation(len(records))]
