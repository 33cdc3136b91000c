"""All slots of all types in one table: a step has one gather, and one update that knows which rows are the same."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from artifacts.formats.graph import EntityType
from pbg_transra.backends.backend import Resident, Segment
from pbg_transra.backends.tail_bias import RelationTypes


class Spans(NamedTuple):
    """Where the partitions of each relation's heads and tails lie in the table: (2, R) first rows, and how many."""

    begins: Tensor
    counts: Tensor


class DeviceTables:
    """vectors: (N, D). sums: (N,) of row-wise Adagrad."""

    def __init__(
        self, kinds: Sequence[EntityType], dimension: int, slots: Mapping[str, int], device: torch.device
    ) -> None:
        self._kinds = {kind.name: kind for kind in kinds}
        self._begins, total = {}, 0
        for kind in kinds:
            self._begins[kind.name] = total
            total += slots[kind.name] * max(kind.counts)
        self.vectors = torch.zeros(total, dimension, device=device)
        self.sums = torch.zeros(total, device=device)

    def span(self, resident: Resident) -> tuple[int, int]:
        """First row and number of rows of a partition."""
        kind = self._kinds[resident.entity]
        return self._begins[kind.name] + resident.slot * max(kind.counts), kind.counts[resident.partition]

    def partition(self, resident: Resident) -> tuple[Tensor, Tensor]:
        """Its vectors (n, D) and sums (n,), views."""
        begin, count = self.span(resident)
        return self.vectors[begin : begin + count], self.sums[begin : begin + count]

    def spans(self, segment: Segment, relations: Sequence[RelationTypes]) -> Spans:
        """Of the relations whose types a segment's partitions are of; others have no rows."""
        found = []
        for residents, names in (
            (segment.heads, [relation.lhs for relation in relations]),
            (segment.tails, [relation.rhs for relation in relations]),
        ):
            of_types = {resident.entity: self.span(resident) for resident in residents}
            found.append([of_types.get(name, (0, 0)) for name in names])
        begins, counts = torch.tensor(found, device=self.vectors.device).unbind(2)
        return Spans(begins.contiguous(), counts.contiguous())
