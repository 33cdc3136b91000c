"""The log of impressions: streamed block by block, and what its columns must be."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from artifacts.errors import ConfigError, DataError
from artifacts.moment import YEAR_1990, YEAR_2200, epoch_seconds
from artifacts.pseudonyms import key_mark
from artifacts.sources.frame import Frame, arrow_table
from artifacts.sources.source_files import Files
from artifacts.sources.unchanged import unchanged_since
from ranker.config.columns import DAY
from ranker.config.sections import RankerConfig
from ranker.data.log.bad_rows import BadRows, Mask
from ranker.data.log.block import LogBlock, with_lists, with_pseudonyms
from ranker.data.log.forgotten import Forgotten
from ranker.data.log.lists import Ages, wrong_ages
from ranker.data.log.named_columns import named_columns
from ranker.data.log.parts import FRAME, FilePart, FramePart, Part, file_parts
from ranker.data.log.schemas import plain, require_counted, require_schemas
from ranker.data.log.times import checked_ages, epoch_seconds_of, impression_times, list_ages
from ranker.data.log.where import Where

BLOCK_ROWS = 1 << 16  # rows decoded at a time
UNKNOWN = -1  # a conversion that may still come, or was never known


class Derivation(Protocol):
    """What makes columns of others: `attributes.Attributes`."""

    def joined(self, block: LogBlock) -> LogBlock: ...

    def identity(self) -> list[Any]: ...


class ImpressionLog:
    """Streams the impressions of a config, or those of a table in memory; those of ids to forget are left out.

    `attributes` adds the columns of slots that the log has none of. `left_out` counts the rows of the last pass that
    are no impressions by `ranker.where`. Raises DataError when files or columns are missing, ConfigError for a
    condition that is none, and for a count of what is not there.
    """

    def __init__(
        self,
        config: RankerConfig,
        root: Path,
        frame: Frame | None = None,
        forgotten: Forgotten | None = None,
        id_key: bytes | None = None,
        files: Files | None = None,
        attributes: Derivation | None = None,
    ) -> None:
        self._attributes = attributes
        self.config, self.forgotten, self._id_key = config, forgotten or Forgotten(), id_key
        self.bad, self.left_out = BadRows(), 0
        self.parts: list[Part] = (
            file_parts(config, root, files) if frame is None else [FramePart(arrow_table(FRAME, frame))]
        )
        files_of_parts = [part for part in self.parts if isinstance(part, FilePart)]
        self._opened = {path: state for part in files_of_parts for path, state in part.state.items()}
        self._where = Where.of(config, self.parts, pseudonyms=id_key is not None)
        require_counted(self.parts, config.stored_counts, config.count_features)
        times = {config.time_column, config.labels.conversion_time, *config.list_times.values()}
        require_schemas(self.parts, self._columns(), times)

    def _columns(self) -> dict[str, str]:
        """Every column that is read, and the config path that names it."""
        return {**dict.fromkeys(self._where.types if self._where else (), "where"), **named_columns(self.config)}

    def unchanged(self) -> AbstractContextManager[None]:
        """Raises DataError, after its block or instead of its error, for files that are not what they were when the
        log was opened: it is read several times."""
        return unchanged_since(self._opened)

    @property
    def has_pseudonyms(self) -> bool:
        """Whether ids of the graph's types are replaced by pseudonyms."""
        return self._id_key is not None

    @property
    def rows(self) -> int:
        """All rows, also those that are left out."""
        return sum(part.rows for part in self.parts)

    def blocks(self, columns: Sequence[str] | None = None) -> Iterator[LogBlock]:
        """Yields the log in order of its parts, with `columns` or all that the config names.

        Rows that `where` leaves out come first: nothing else looks at them. Bad rows are left out if the config says
        so, the same ones whichever columns are read. Raises DataError where they are more than it allows.
        """
        dropping = self.config.on_bad_rows == "drop"
        beside = [*self._forgetting, *(self._judged if dropping else ()), *(self._where.types if self._where else ())]
        wanted = list(dict.fromkeys(map(self.config.stored, [*(columns or self._columns()), *beside])))
        self.bad, self.left_out = BadRows(), 0
        for block in self._impressions(wanted):
            block = with_pseudonyms(block, self.config.slots, self._id_key)
            block = self._without_forgotten(self._with_attributes(block))
            block = self._good(block) if dropping else block
            if len(block.table):
                yield block
        self.bad.require(self.config.max_bad_share)

    def _impressions(self, columns: Sequence[str]) -> Iterator[LogBlock]:
        """The rows that `where` holds for."""
        with ExitStack() as stack:
            holds = stack.enter_context(self._where.opened()) if self._where else None
            for part in self.parts:
                first = 0
                for batch in part.batches(columns, BLOCK_ROWS):
                    table = pa.table({name: plain(batch[name]) for name in batch.column_names})  # views cannot be taken
                    block = with_lists(LogBlock(part.name, first, table), self.config.slots)
                    first += len(table)
                    kept = block.only(holds(table, block.row)) if holds else block
                    self.left_out += len(table) - len(kept.table)
                    if len(kept.table):
                        yield kept

    @property
    def _judged(self) -> list[str]:
        """The columns that make a row good or bad."""
        labels = self.config.labels
        lists = [column for pair in self.config.list_times.items() for column in pair]
        told = (labels.click, labels.conversion, labels.conversion_time)
        return [c for c in (self.config.time_column, *told, *lists) if c is not None]

    def _good(self, block: LogBlock) -> LogBlock:
        """The good rows of a block."""
        labels, name = self.config.labels, self.config.time_column
        seconds = epoch_seconds_of(block, name, self.config.time_unit)
        missing = seconds.is_null().to_numpy(zero_copy_only=False)
        times = seconds.fill_null(0).to_numpy(zero_copy_only=False)
        wrong = {f"{name} is missing": missing, f"{name} is not in 1970 to 2200": (times < 0) | (times >= YEAR_2200)}
        if labels.click is not None:
            numbers, missing = _label_numbers(block, labels.click)
            wrong[f"{labels.click} is missing"] = missing
            wrong[f"{labels.click} is neither 0 nor 1"] = (numbers != 0) & (numbers != 1)
        if labels.conversion is not None:
            numbers, missing = _label_numbers(block, labels.conversion)
            wrong[f"{labels.conversion} is neither 0 nor 1"] = ~missing & (numbers != 0) & (numbers != 1)
            wrong |= self._wrong_conversions(block, numbers == 1, times)
        for slot, column in self.config.list_times.items():
            ages = list_ages(block, slot, self.config.slots[slot], times, self.config.time_unit)
            wrong |= wrong_ages(column, ages, times)
        return block.only(self.bad.good(block.row, len(block.table), wrong))

    def _with_attributes(self, block: LogBlock) -> LogBlock:
        if self.config.derived_slots and self._attributes is None:
            raise ConfigError(
                f"ranker.slots.{min(self.config.derived_slots)}.via: needs a run with a graph and vectors"
            )
        return block if self._attributes is None else self._attributes.joined(block)

    @property
    def _forgetting(self) -> Iterable[str]:
        return self.forgotten.columns(self.config)

    def _without_forgotten(self, block: LogBlock) -> LogBlock:
        kept = np.ones(len(block.table), bool)
        for name, type in self.forgotten.columns(self.config).items():
            ids = block.ids(name, block.column(name))
            kept &= ~self.forgotten.among(type, ids)
        return block.only(kept)

    def identity(self) -> list[Any]:
        """What tells this log from another, as JSON: what its files or the columns of a table hold, and what ids
        become."""
        derived = [] if self._attributes is None else self._attributes.identity()
        key = None if self._id_key is None else key_mark(self._id_key)
        return [self.forgotten.identity(), derived, key, *(part.identity(list(self._columns())) for part in self.parts)]

    def times(self, block: LogBlock) -> NDArray[np.int64]:
        """See `impression_times`."""
        return impression_times(block, self.config.time_column, self.config.time_unit)

    def ages(self, block: LogBlock, slot: str) -> Ages:
        """See `checked_ages`."""
        return checked_ages(block, slot, self.config.slots[slot], self.times(block), self.config.time_unit)

    def clicks(self, block: LogBlock) -> NDArray[np.int8]:
        """Clicks (N,) of 0 and 1. Raises DataError for anything else, missing ones included."""
        name = self.config.labels.click
        assert name is not None
        return _labels(block, name, null_means="an error")

    def conversions(self, block: LogBlock) -> NDArray[np.int8]:
        """Conversions (N,) of 0, 1 and UNKNOWN, as attribution and the time of observation make them.

        One before its impression does not count: that cannot have brought it about.
        """
        labels = self.config.labels
        assert labels.conversion is not None
        found = _labels(block, labels.conversion, null_means="unknown")
        if labels.attribution_days is None:
            return found
        shown, window = self.times(block), int(labels.attribution_days * DAY)
        if labels.conversion_time is not None:
            converted = self._conversion_times(block, shown)
            for reason, rows in self._wrong_conversions(block, found == 1, shown).items():
                if rows.any():
                    raise DataError(f"{block.row(rows)}: {reason} (ranker.labels.conversion_time)")
            beside = (converted > shown + window) | (converted < shown)
            found = np.where((found == 1) & beside, np.int8(0), found)
        if labels.observed_until is not None:
            # Those that converted early are left out too: keeping only them would bias the rate upwards.
            open_still = shown + window > epoch_seconds(labels.observed_until)
            found = np.where(open_still, np.int8(UNKNOWN), found)
        return found

    def _wrong_conversions(self, block: LogBlock, found: Mask, shown: NDArray[np.int64]) -> dict[str, Mask]:
        """The rows (N,) of conversions, `found` (N,), at a time that cannot be, by what is wrong with it."""
        name = self.config.labels.conversion_time
        if name is None:
            return {}
        times, expected = self._conversion_times(block, shown), "expected the unit of the impression's"
        return {
            f"{name} is not in 1970 to 2200; {expected}": found & ((times < 0) | (times >= YEAR_2200)),
            f"{name} is before 1990; {expected}": found & (times < YEAR_1990) & (times >= 0) & (shown >= YEAR_1990),
        }

    def conversions_too_early(self, block: LogBlock) -> int:
        """How many conversions do not count since they lie before their impressions."""
        labels = self.config.labels
        if labels.conversion is None or labels.conversion_time is None:
            return 0
        shown = self.times(block)
        converted = _labels(block, labels.conversion, null_means="unknown") == 1
        return int((converted & (self._conversion_times(block, shown) < shown)).sum())

    def _conversion_times(self, block: LogBlock, shown: NDArray[np.int64]) -> NDArray[np.int64]:
        """Epoch seconds (N,), the impression's own where there is none."""
        name = self.config.labels.conversion_time
        assert name is not None
        known = epoch_seconds_of(block, name, self.config.time_unit)
        times: NDArray[np.int64] = pc.coalesce(known, pa.array(shown)).to_numpy(zero_copy_only=False)
        return times


def _labels(block: LogBlock, name: str, null_means: str) -> NDArray[np.int8]:
    numbers, missing = _label_numbers(block, name)
    wrong = ~missing & (numbers != 0) & (numbers != 1)
    if wrong.any():
        raise DataError(f"{block.row(wrong)}: {name} is {numbers[wrong][0]:g}, expected 0 or 1")
    if null_means == "an error" and missing.any():
        raise DataError(f"{block.row(missing)}: {name} is missing, expected 0 or 1")
    return np.where(missing, UNKNOWN, numbers).astype(np.int8)


def _label_numbers(block: LogBlock, name: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """A column of labels as numbers (N,), and which of them are missing (N,)."""
    column = block.column(name)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())  # there is no cast to float
    values = block.cast(name, column, pa.float64(), "0 and 1")
    return values.to_numpy(zero_copy_only=False), values.is_null().to_numpy(zero_copy_only=False)
