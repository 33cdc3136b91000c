"""The columns of the file: which row of the log it is, what it was shown to whom, its labels, and its features."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.embeddings import Embeddings
from artifacts.errors import ConfigError
from ranker.data.ids.join import MatchRate, join_slot
from ranker.data.ids.slots import Layout
from ranker.data.log.block import LogBlock
from ranker.data.log.impression_log import UNKNOWN, ImpressionLog
from ranker.data.log.schemas import filled
from ranker.data.log.windows import Windows
from ranker.data.records import SPLITS
from ranker.data.tabular.counts import Counts
from ranker.data.tabular.transforms import numbers
from ranker.features.joined import Columns, JoinedRows, named
from ranker.features.lists import list_columns
from ranker.features.vectors import chunk_rows, degree_columns, vector_columns

FILE, ROW, SPLIT = "log_file", "log_row", "split"
CHUNK_BYTES = 32 << 20  # of vectors that are looked at together


@dataclass(frozen=True)
class FeatureRows:
    """Makes tables of a log's blocks. `rates` count, slot by slot, how many ids the export knows.

    Files are named from `root` on, where they lie below it.
    """

    root: Path
    log: ImpressionLog
    windows: Windows
    export: Embeddings
    counts: Counts | None
    rates: dict[str, MatchRate] = field(default_factory=dict)

    @property
    def layout(self) -> Layout:
        return Layout.of(self.log.config)

    def schema(self) -> pa.Schema:
        """The columns, in their order. Raises ConfigError where two would have one name."""
        fields = [*self._about(), *((name, pa.float32()) for name in self._features(self._no_rows()))]
        fields += [(named(name), pa.float32()) for name in self.log.config.count_features]
        names = [name for name, _ in fields]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(*(f"ranker.slots: two columns of the file would be '{name}'" for name in twice))
        return pa.schema(fields)

    def table(self, block: LogBlock, schema: pa.Schema) -> pa.Table:
        """The rows of a block."""
        times = self.log.times(block)
        first = block.first + (np.arange(len(times)) if block.kept is None else block.kept)
        columns: dict[str, pa.Array] = {
            FILE: pa.array([self._named_from_root(block.part)]).take(pa.array(np.zeros(len(times), np.int8))),
            ROW: pa.array(first),
            SPLIT: pa.array(SPLITS).take(pa.array(self.windows.split(times))),
            self.log.config.time_column: pa.array(times).cast(pa.timestamp("s", "UTC")),
            **self._ids(block, schema),
            **dict(self._labels(block)),
        }
        joined = self._joined(block)
        size = chunk_rows(self.layout, self.export.dimension, CHUNK_BYTES)
        chunks = [self._features(joined.only(slice(at, at + size))) for at in range(0, len(times), size)]
        columns |= {name: floats(np.concatenate([chunk[name] for chunk in chunks])) for name in chunks[0]}
        if self.counts is not None:
            counted = self.counts.joined(block, times)
            columns |= {named(name): floats(numbers(counted, name)) for name in self.log.config.count_features}
        return pa.table({name: columns[name] for name in schema.names}, schema)

    def _about(self) -> Iterator[tuple[str, pa.DataType]]:
        config = self.log.config
        yield from ((FILE, pa.string()), (ROW, pa.int64()), (SPLIT, pa.string()))
        yield config.time_column, pa.timestamp("s", "UTC")
        for slot in self.layout.slots:
            if not slot.is_list:
                types = {part.types[config.stored(slot.name)] for part in filled(self.log.parts)}
                whole = all(pa.types.is_integer(type) or pa.types.is_null(type) for type in types)
                as_in_graph = slot.name in config.derived_slots or (self.log.has_pseudonyms and slot.type is not None)
                integers = pa.uint64() if pa.uint64() in types else pa.int64()
                yield slot.name, integers if whole and not as_in_graph else pa.large_string()
        for label in (config.labels.click, config.labels.conversion):
            if label is not None:
                yield label, pa.int8()

    def _named_from_root(self, part: str) -> str:
        path = Path(part)
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else part

    def _ids(self, block: LogBlock, schema: pa.Schema) -> Mapping[str, pa.Array]:
        singles = (slot.name for slot in self.layout.slots if not slot.is_list)
        return {name: block.cast(name, block.column(name), schema.field(name).type, "ids") for name in singles}

    def _labels(self, block: LogBlock) -> Iterator[tuple[str, pa.Array]]:
        """Null where it is not known."""
        labels = self.log.config.labels
        if labels.click is not None:
            yield labels.click, pa.array(self.log.clicks(block))
        if labels.conversion is not None:
            found = self.log.conversions(block)
            yield labels.conversion, pa.array(found, mask=found == UNKNOWN)

    def _joined(self, block: LogBlock) -> JoinedRows:
        found = {slot.name: join_slot(block, slot, [self.export], self.log.forgotten) for slot in self.layout.slots}
        for slot in self.layout.graph():
            one = found[slot.name]
            self.rates.setdefault(slot.name, MatchRate()).add(one.hashes, one.rows[0])
        return JoinedRows(
            self.export,
            {name: one.hashes for name, one in found.items()},
            {name: one.rows[0] for name, one in found.items()},
            {name: self.log.ages(block, name) for name in self.log.config.list_times},
        )

    def _features(self, joined: JoinedRows) -> Columns:
        layout = self.layout
        return vector_columns(layout, joined) | list_columns(layout, joined) | degree_columns(layout, joined)

    def _no_rows(self) -> JoinedRows:
        """Of which the names of columns are known."""
        layout = self.layout
        return JoinedRows(
            self.export,
            {slot.name: np.zeros((0, slot.width), np.uint32) for slot in layout.slots},
            {slot.name: np.zeros((0, slot.width), np.int32) for slot in layout.slots},
            {slot.name: np.zeros((0, slot.width)) for slot in layout.slots if slot.ages is not None},
        )


def floats(values: NDArray[np.float64]) -> pa.Array:
    """Values (N,) as a column, null in place of NaN."""
    return pa.array(values.astype(np.float32), mask=np.isnan(values))
