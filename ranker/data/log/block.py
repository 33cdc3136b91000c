"""Rows of a log under the name of the file or table that they come from, which errors name."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from artifacts.errors import DataError
from artifacts.pseudonyms import pseudonyms
from ranker.config.columns import SlotConfig
from ranker.data.log.schemas import as_text, is_id, is_list, is_text, one_text_each, plain


@dataclass(frozen=True)
class LogBlock:
    """Rows of one part of the log: its rows from number `first` on, or those of them that `kept` (N,) counts."""

    part: str
    first: int
    table: pa.Table
    kept: NDArray[np.int64] | None = None

    def column(self, name: str) -> pa.Array:
        column = self.table.column(name)
        return plain(column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column)

    def ids(self, name: str, values: pa.Array) -> pa.Array:
        """Values of a column as the text that the graph knows ids by.

        Raises DataError for what the graph takes for no id: a float would be 1 or 1e+16 here, and nothing there.
        """
        kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
        if not is_id(kind):
            raise DataError(f"{self.part}: column {name} is {kind}, expected integers, text, UUIDs or dates for ids")
        return self.cast(name, values, pa.large_string(), "ids")

    def cast(self, name: str, values: pa.Array, to: pa.DataType, expected: str, safe: bool = True) -> pa.Array:
        """A column's values as another type. Raises DataError, which says what was expected, where that cannot be."""
        try:
            values = as_text(values)
            return (one_text_each(values) if is_text(to) else values).cast(to, safe=safe)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DataError(
                f"{self.part}: column {name} is {self.column(name).type}, expected {expected} ({error})"
            ) from error

    def only(self, mask: NDArray[np.bool_]) -> "LogBlock":
        """The rows that `mask` (N,) marks; they keep their numbers."""
        if mask.all():
            return self
        at = np.flatnonzero(mask)
        kept = at if self.kept is None else self.kept[at]
        return LogBlock(self.part, self.first, self.table.take(pa.array(at)), kept)

    def row(self, mask: NDArray[np.bool_]) -> str:
        """Names the first row that `mask` (N,) marks."""
        at = int(np.argmax(mask))
        return f"{self.part}: row {self.first + int(at if self.kept is None else self.kept[at])}"


def with_lists(block: LogBlock, slots: Mapping[str, SlotConfig]) -> LogBlock:
    """The block with lists in every column of lists: one of nulls alone has no type where Arrow writes it."""
    table = block.table
    named = [name for key, slot in slots.items() if slot.cap is not None for name in (key, slot.times)]
    for name in (name for name in named if name in table.column_names):
        if pa.types.is_null(table.schema.field(name).type):
            empty = pa.nulls(len(table), pa.large_list(pa.null()))
            table = table.set_column(table.column_names.index(name), name, empty)
    return replace(block, table=table)


def with_pseudonyms(block: LogBlock, slots: Mapping[str, SlotConfig], key: bytes | None) -> LogBlock:
    """The block with the ids of the graph's types as the graph has them."""
    if key is None:
        return block
    table = block.table
    for name, slot in slots.items():
        if slot.type and name in table.column_names:
            ids = pseudonymous(block, name, key)
            table = table.set_column(table.column_names.index(name), name, ids)
    return replace(block, table=table)


def pseudonymous(block: LogBlock, name: str, key: bytes) -> pa.Array:
    """A column of ids, or of lists of ids, as pseudonyms."""
    column = block.column(name)
    if not is_list(column.type):
        return pseudonyms(block.ids(name, column), key)
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    ids = pseudonyms(block.ids(name, column.flatten()), key)
    return pa.LargeListArray.from_arrays(pa.array(np.cumsum([0, *lengths]), pa.int64()), ids)
