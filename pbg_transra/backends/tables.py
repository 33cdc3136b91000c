"""Memory that the main process and its workers share: entity tables by slot, and edges of a bucket."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from artifacts.formats.graph import EntityType
from pbg_transra.backends.backend import Resident, Segment
from pbg_transra.backends.edges import Edges


def shared_zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Zeros in shared memory, never in ordinary memory first: large tables exist once."""
    size = torch.empty((), dtype=dtype).element_size()
    storage = torch.UntypedStorage._new_shared(max(1, prod(shape)) * size)  # the kernel hands it out zeroed
    return torch.empty(0, dtype=dtype).set_(storage)[: prod(shape)].view(shape)


def shared_edges(count: int, weighted: bool, regularized: bool) -> Edges:
    """Room for edges."""
    heads, tails, relations = shared_zeros(3, count, dtype=torch.long)
    weights = shared_zeros(count) if weighted else None
    return Edges(heads, tails, relations, weights, shared_zeros(2, count) if regularized else None)


@dataclass(frozen=True, eq=False)
class Partition:
    """A partition where it lies: vectors (n, D) and sums of row-wise Adagrad (n,), views of a table.

    Tables do not move, so the same `resident` always is the same memory.
    """

    resident: Resident
    vectors: Tensor
    sums: Tensor


@dataclass(frozen=True)
class Table:
    """The slots of a type: vectors (S, N, D) and row sums of Adagrad (S, N) for S slots of N rows."""

    kind: EntityType
    vectors: Tensor
    sums: Tensor

    @classmethod
    def allocate(cls, kind: EntityType, dimension: int, slots: int) -> "Table":
        rows = max(kind.counts)
        return cls(kind, shared_zeros(slots, rows, dimension), shared_zeros(slots, rows))

    def partition(self, resident: Resident) -> Partition:
        count = self.kind.counts[resident.partition]
        return Partition(resident, self.vectors[resident.slot, :count], self.sums[resident.slot, :count])


@dataclass(frozen=True)
class Ends:
    """The partitions in which the heads and tails of a bucket lie, by type; one that is on both sides is one object."""

    heads: Mapping[str, Partition]
    tails: Mapping[str, Partition]


def ends_of(segment: Segment, tables: Mapping[str, Table]) -> Ends:
    found = {at: tables[at.entity].partition(at) for at in (*segment.heads, *segment.tails)}
    return Ends({at.entity: found[at] for at in segment.heads}, {at.entity: found[at] for at in segment.tails})
