"""Memory that the main process and the workers share: entity tables by slot, and edges of a bucket."""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from artifacts.graph import EntityType


def shared_zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Zeros in shared memory, never in ordinary memory first: large tables exist once."""
    size = torch.empty((), dtype=dtype).element_size()
    storage = torch.UntypedStorage._new_shared(max(1, prod(shape)) * size)  # the kernel hands it out zeroed
    return torch.empty(0, dtype=dtype).set_(storage)[: prod(shape)].view(shape)


@dataclass(frozen=True)
class Table:
    """The resident partitions of a type: vectors (S, N, D) and row sums of Adagrad (S, N) for S slots of N rows."""

    kind: EntityType
    vectors: Tensor
    sums: Tensor

    @classmethod
    def allocate(cls, kind: EntityType, dimension: int, slots: int) -> "Table":
        rows = max(kind.counts)
        return cls(kind, shared_zeros(slots, rows, dimension), shared_zeros(slots, rows))

    @property
    def slots(self) -> int:
        return len(self.vectors)

    def view(self, slot: int, partition: int) -> tuple[Tensor, Tensor]:
        """Vectors (n, D) and sums (n,) of the partition that lies in a slot."""
        count = self.kind.counts[partition]
        return self.vectors[slot, :count], self.sums[slot, :count]


@dataclass(frozen=True)
class EdgeBuffer:
    """Edges of a bucket, shuffled: heads, tails, relations (3, E) and, in a weighted graph, weights (E,)."""

    columns: Tensor
    weights: Tensor | None

    @classmethod
    def allocate(cls, edges: int, weighted: bool) -> "EdgeBuffer":
        columns = shared_zeros(3, edges, dtype=torch.long)
        return cls(columns, shared_zeros(edges) if weighted else None)
