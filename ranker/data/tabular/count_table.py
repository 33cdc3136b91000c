"""Sums by key and day, on disk: written in any order, then asked what was known of a key as a day began.

    <name>.keys   (K,) uint64, ascending: 47 bits of a key's hash, then the day from which on the sums are known
    <name>.sums   (K, SUMS) int64: what was known of the key by then, all earlier days included

K is the number of distinct pairs of a key and a day on which something of it became known. Files hold 40 bytes for
each, and about as many again until they are made, for what is collected; memory holds one run of rows, and one
partition of about as many while runs are merged, however long the log is.
"""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from artifacts.errors import DataError

SUMS = ("impressions", "clicks", "judged", "conversions")
DAY_BITS = np.uint64(17)  # of a day since 1970: as far as the year 2328
LAST_DAY = (1 << 17) - 1
ROW_BYTES = 8 + 8 * len(SUMS)

Array = NDArray[Any]
Keys = NDArray[np.uint64]


class CountTable:
    """A table that has been made, memory-mapped: a question touches some pages of it."""

    def __init__(self, stem: Path) -> None:
        """Raises DataError for a table that is not there, or not whole."""
        try:
            self._keys, self._sums = _mapped(stem)
        except (OSError, ValueError) as error:
            raise DataError(f"{stem}: expected a whole table of counts ({error})") from error

    def before(self, hashes: Keys, days: Array) -> NDArray[np.int64]:
        """What was known of each key (N,) as a day (N,) since 1970 began: (N, SUMS), zeros where nothing was."""
        asked = _packed(hashes, days)
        order = np.argsort(asked)  # neighbours lie on the same pages
        place = np.empty(len(asked), np.int64)
        place[order] = np.searchsorted(self._keys, asked[order], side="right") - 1
        found = np.zeros((len(asked), len(SUMS)), np.int64)
        at = np.flatnonzero(place >= 0)
        at = at[self._keys[place[at]] >> DAY_BITS == asked[at] >> DAY_BITS]
        found[at] = self._sums[place[at]]
        return found


class CountTableWriter:
    """Collects sums by key and day. A context manager: what is left of the collected rows goes at its end.

    Memory holds `run` rows, and those of a call of `add`, before they are sorted and written.
    """

    def __init__(self, stem: Path, run: int) -> None:
        self._run = run
        self._stem, self._spill = stem, stem.with_name(f"{stem.name}.spill")
        self._files: list[BinaryIO] = []
        self._runs: list[int] = []
        self._collected: list[tuple[Keys, Array]] = []
        self._rows = 0

    def __enter__(self) -> "CountTableWriter":
        self._files = _opened(self._spill)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for file in self._files:
            file.close()
        for path in _paths(self._spill):
            path.unlink(missing_ok=True)

    def add(self, hashes: Keys, days: Array, sums: Array) -> None:
        """Adds `sums` (N, SUMS) of keys (N,) that are known from the beginning of `days` (N,) on."""
        shown = days <= LAST_DAY
        keys, sums = _summed(_packed(hashes[shown], days[shown]), sums[shown])
        self._collected.append((keys, sums))
        self._rows += len(keys)
        if self._rows >= self._run:
            self._write_run()

    def finish(self) -> CountTable:
        """Merges what was added into the table."""
        self._write_run()
        files = _opened(self._stem)
        try:
            for keys, sums in map(_merged, self._partitions()):
                files[0].write(keys.tobytes())
                files[1].write(_cumulated(keys, sums).tobytes())
        finally:
            for file in files:
                file.close()
        return CountTable(self._stem)

    def _write_run(self) -> None:
        if not self._rows:
            return
        keys, sums = _merged(self._collected)
        for file, values in zip(self._files, (keys, sums), strict=True):
            file.write(values.tobytes())
            file.flush()
        self._runs.append(len(keys))
        self._collected, self._rows = [], 0

    def _partitions(self) -> Iterator[list[tuple[Keys, Array]]]:
        """The runs, cut by the first bits of keys, so that about one run comes together, and all of a key."""
        keys, sums = _mapped(self._spill)
        ends = np.cumsum(self._runs)
        bits = max(int(np.ceil(np.log2(max(len(keys), 1) / self._run))), 0)
        firsts = [np.uint64(index << (64 - bits)) for index in range(1, 1 << bits)]
        cuts = []
        for end, length in zip(ends, self._runs, strict=True):
            inside = np.searchsorted(keys[end - length : end], np.array(firsts, np.uint64))
            cuts.append([end - length, *(end - length + inside), end])
        for index in range(1 << bits):
            yield [(keys[cut[index] : cut[index + 1]], sums[cut[index] : cut[index + 1]]) for cut in cuts]


def _packed(hashes: Keys, days: Array) -> Keys:
    return (hashes >> DAY_BITS << DAY_BITS) | days.astype(np.uint64)


def _merged(parts: list[tuple[Keys, Array]]) -> tuple[Keys, Array]:
    keys = np.concatenate([keys for keys, _ in parts]) if parts else np.zeros(0, np.uint64)
    sums = np.concatenate([sums for _, sums in parts]) if parts else np.zeros((0, len(SUMS)), np.int64)
    return _summed(keys, sums)


def _summed(keys: Keys, sums: Array) -> tuple[Keys, Array]:
    """Ascending keys, each once, and their sums."""
    order = np.argsort(keys)
    keys, sums = keys[order], sums[order]
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])) if len(keys) else np.zeros(0, np.int64)
    return keys[starts], np.add.reduceat(sums, starts, axis=0, dtype=np.int64) if len(keys) else sums


def _cumulated(keys: Keys, sums: Array) -> NDArray[np.int64]:
    """Sums (K, SUMS) of ascending keys, those of earlier days of the same key included."""
    total = np.cumsum(sums, axis=0)
    same = keys >> DAY_BITS
    starts = np.searchsorted(same, same)
    before: NDArray[np.int64] = total - (total[starts] - sums[starts])
    return before


def _paths(stem: Path) -> tuple[Path, Path]:
    return stem.with_name(f"{stem.name}.keys"), stem.with_name(f"{stem.name}.sums")


def _opened(stem: Path) -> list[BinaryIO]:
    return [path.open("wb") for path in _paths(stem)]


def _mapped(stem: Path) -> tuple[Keys, Array]:
    keys, sums = (_map(path, dtype) for path, dtype in zip(_paths(stem), (np.uint64, np.int64), strict=True))
    if len(sums) != len(keys) * len(SUMS):
        raise ValueError(f"{len(keys)} keys and {len(sums)} sums")
    return keys, sums.reshape(-1, len(SUMS))


def _map(path: Path, dtype: Any) -> Array:
    return np.memmap(path, dtype, "r") if path.stat().st_size else np.zeros(0, dtype)
