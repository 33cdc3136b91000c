"""Ids to graph rows and hashes: each distinct id of a block once, vectorised."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.embeddings import Embeddings, hash_ids
from artifacts.errors import DataError
from artifacts.ordered import unique
from ranker.data.ids.slots import Slot
from ranker.data.log.block import LogBlock
from ranker.data.log.forgotten import Forgotten
from ranker.data.log.lists import unrolled
from ranker.data.log.schemas import is_list

ABSENT = -1  # the row of an id that the export does not know, and of no id at all
NO_ID = 0  # the hash of no id at all

Hashes = NDArray[np.uint32]
Rows = NDArray[np.int32]


@dataclass(frozen=True)
class JoinedSlot:
    """The ids of a slot: `hashes` (N, W), NO_ID beyond a list's end; `rows` (E, N, W), one layer per export.

    `cut` counts the lists of more than W ids.
    """

    hashes: Hashes
    rows: Rows
    cut: int


def join_slot(block: LogBlock, slot: Slot, exports: Sequence[Embeddings], forgotten: Forgotten) -> JoinedSlot:
    """Ids to forget are none. Raises DataError for a column that holds no ids."""
    places, values, cut = _places(block, slot)
    encoded = forgotten.without(slot.type, values).dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    ids = encoded.dictionary
    hashes = np.append(np.maximum(hash_ids(ids) >> np.uint64(32), 1), NO_ID).astype(np.uint32)
    known = [export.rows(slot.type, ids) if slot.type else np.full(len(ids), ABSENT) for export in exports]
    rows = np.array([np.append(found, ABSENT) for found in known], np.int32).reshape(len(exports), len(ids) + 1)
    matrix = np.full((len(block.table), slot.width), -1)
    matrix[places] = codes
    return JoinedSlot(hashes[matrix], rows[:, matrix], cut)


def _places(block: LogBlock, slot: Slot) -> tuple[Any, pa.Array, int]:
    """Where in an (N, W) matrix the values of a column go, the values as strings, and how many lists were cut.

    Lists are latest first: of one with more than W ids, the first W are left.
    """
    column = block.column(slot.name)
    lists = is_list(column.type)
    if lists != slot.is_list:
        wanted = "lists of ids (cap is set)" if slot.is_list else "ids; a list column needs a cap"
        raise DataError(f"{block.part}: column {slot.name} is {column.type}, expected {wanted}")
    if not lists:
        return (np.arange(len(column)), 0), _strings(block, slot, column), 0
    places, values, cut = unrolled(column, slot.width)
    return places, _strings(block, slot, values), cut


def _strings(block: LogBlock, slot: Slot, values: pa.Array) -> pa.Array:
    """Ids as text; what no export has is a value like any other."""
    known = slot.type is not None
    return block.ids(slot.name, values) if known else block.cast(slot.name, values, pa.large_string(), "ids")


@dataclass
class MatchRate:
    """How many of a slot's ids an export knows: of its distinct ids, and of its traffic; rows without any id apart."""

    matched: int = 0
    ids: int = 0
    rows: int = 0
    without_id: int = 0
    _known: Hashes = field(default_factory=lambda: np.empty(0, np.uint32))
    _all: Hashes = field(default_factory=lambda: np.empty(0, np.uint32))

    def add(self, hashes: Hashes, rows: Rows) -> None:
        """Counts the ids of a block, (N, W) both."""
        present, known = hashes != NO_ID, rows != ABSENT
        self.rows += len(hashes)
        self.without_id += int((~present).all(axis=1).sum())
        self.ids += int(present.sum())
        self.matched += int(known.sum())
        self._all = unique(np.concatenate([self._all, hashes[present]]))
        self._known = unique(np.concatenate([self._known, hashes[known]]))

    @property
    def traffic(self) -> float:
        return self.matched / max(self.ids, 1)

    def report(self) -> dict[str, float | int]:
        distinct = len(self._all)
        return {
            "traffic": self.traffic,
            "ids": len(self._known) / max(distinct, 1),
            "distinct": distinct,
            "rows_without_id": self.without_id / max(self.rows, 1),
        }


def require_match_rates(
    rates: Mapping[str, Mapping[str, Mapping[str, float]]], least: float, lists: Set[str] = frozenset()
) -> None:
    """Raises DataError for each export and slot of which the export knows less than `least` of the traffic.

    The `lists` among the slots may be empty in every row: then there is nothing to know.
    """
    lines = [
        f"slot {slot}: {rate['traffic']:.1%} of its traffic is known to export {name}, "
        f"expected at least {least:.1%} (ranker.min_match_rate)"
        for name, slots in rates.items()
        for slot, rate in slots.items()
        if rate["traffic"] < least and (rate["distinct"] or slot not in lists)
    ]
    if lines:
        raise DataError(*lines)
