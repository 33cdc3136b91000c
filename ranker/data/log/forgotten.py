"""Ids that must not be learned from: impressions of one are left out, and in a list it is no id."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ranker.config.sections import RankerConfig


@dataclass(frozen=True)
class Forgotten:
    """`ids` are texts by entity type, as the graph writes them."""

    ids: Mapping[str, pa.Array] = field(default_factory=dict)

    @classmethod
    def of(cls, ids: Mapping[str, Sequence[str]]) -> "Forgotten":
        return cls({type: pa.array(texts, pa.large_string()) for type, texts in ids.items()})

    def columns(self, config: RankerConfig) -> dict[str, str]:
        """The type of each column whose id makes its impression one to be left out."""
        single = {name: slot.type for name, slot in config.slots.items() if slot.cap is None and slot.type}
        return {name: type for name, type in single.items() if type in self.ids}

    def among(self, type: str, ids: pa.Array) -> NDArray[np.bool_]:
        """Which of the texts (N,) are to be forgotten."""
        found: NDArray[np.bool_] = pc.is_in(ids, self.ids[type]).to_numpy(zero_copy_only=False)
        return found

    def without(self, type: str | None, ids: pa.Array) -> pa.Array:
        """Texts (M,), null in place of those to forget."""
        if type is None or type not in self.ids:
            return ids
        return pc.if_else(pc.is_in(ids, self.ids[type]), pa.scalar(None, ids.type), ids)

    def identity(self) -> dict[str, str]:
        """What tells these ids from others, as JSON that does not say them."""
        sorted_ids = {type: sorted(ids.to_pylist()) for type, ids in sorted(self.ids.items())}
        return {type: sha256("\0".join(ids).encode()).hexdigest() for type, ids in sorted_ids.items()}
