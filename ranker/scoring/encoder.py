"""Rows as training sees them: the same transforms, the same look-ups, nothing fitted."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifacts.embeddings import Embeddings
from ranker.data.ids.join import ABSENT, NO_ID, join_slot
from ranker.data.ids.slots import Layout, Slot
from ranker.data.log.block import LogBlock
from ranker.data.log.forgotten import Forgotten
from ranker.data.log.lists import age_buckets
from ranker.data.log.times import checked_ages
from ranker.data.tabular.transforms import Categorical, Fitted, Numeric
from ranker.scoring.manifest import Manifest
from ranker.scoring.times import request_times


@dataclass(frozen=True)
class Encoded:
    """B rows: as `ranker.data.records.record_type` has them, `rows` of the one export."""

    numerics: NDArray[np.float32]  # (B, F)
    categoricals: NDArray[np.int64]  # (B, C)
    hashes: NDArray[np.int64]  # (B, T)
    rows: NDArray[np.int64]  # (B, T)
    ages: NDArray[np.int64]  # (B, A)

    def __len__(self) -> int:
        return len(self.hashes)

    def at_least(self, rows: int) -> "Encoded":
        """The same with the last row repeated, where there are fewer than `rows`."""
        missing = rows - len(self)
        if missing <= 0:
            return self
        return Encoded(**{name: np.concatenate([part, part[[-1] * missing]]) for name, part in vars(self).items()})


class Encoder:
    """Encodes blocks of rows whose columns are there and of their kinds."""

    def __init__(self, manifest: Manifest, fitted: Fitted, export: Embeddings | None) -> None:
        self.manifest, self.layout = manifest, Layout.of_slots(manifest.slots)
        self.exports = [] if export is None else [export]
        self.categoricals = [Categorical.of(one) for one in fitted.categoricals]
        self.numerics = [Numeric.of(one) for one in fitted.numerics]

    def encode(self, block: LogBlock) -> Encoded:
        """Raises DataError for a list of events that is not latest first, or knows the future, and for times that
        cannot be."""
        rows = len(block.table)
        encoded = Encoded(
            np.empty((rows, len(self.numerics)), np.float32),
            np.empty((rows, len(self.categoricals)), np.int64),
            np.zeros((rows, self.layout.width), np.int64),
            np.full((rows, self.layout.width), ABSENT, np.int64),
            np.zeros((rows, self.layout.ages), np.int64),
        )
        for index, numeric in enumerate(self.numerics):
            encoded.numerics[:, index] = numeric.encode(block)
        for index, categorical in enumerate(self.categoricals):
            encoded.categoricals[:, index] = categorical.encode(block)
        for slot in self.layout.slots:
            self._join_(block, slot, encoded)
        return encoded

    def _join_(self, block: LogBlock, slot: Slot, encoded: Encoded) -> None:
        """Writes the ids of a slot into `encoded`."""
        joined = join_slot(block, slot, self.exports, Forgotten())
        encoded.hashes[:, slot.tokens] = joined.hashes
        for layer in joined.rows:
            encoded.rows[:, slot.tokens] = layer
        if slot.ages is not None:
            encoded.ages[:, slot.ages] = self._ages(block, slot) * (joined.hashes != NO_ID)

    def _ages(self, block: LogBlock, slot: Slot) -> NDArray[Any]:
        manifest = self.manifest
        shown = request_times(block, manifest)
        return age_buckets(checked_ages(block, slot.name, manifest.slots[slot.name], shown, manifest.time_unit))
