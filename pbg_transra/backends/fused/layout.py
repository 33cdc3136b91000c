"""How the vectors of a batch lie in memory."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Sides(NamedTuple):
    """A batch's vectors, or numbers of them: positives (G, n, ...) and uniform negatives (G, U, ...) of both sides."""

    heads: Tensor
    head_negatives: Tensor
    tails: Tensor
    tail_negatives: Tensor


@dataclass(frozen=True)
class Layout:
    """G groups of edges, each of one relation. A group has n = chunks * size edges that share U uniform negatives a
    side; the edges of a chunk are one another's batch negatives. A chunk of one edge has none.

    N = 2 * (G * n + G * U) rows lie one after the other: all heads, all their uniform negatives, and the same of tails.
    """

    groups: int
    chunks: int
    size: int
    uniform: int

    @property
    def edges(self) -> int:
        return self.groups * self.chunks * self.size

    @property
    def half(self) -> int:
        return self.edges + self.groups * self.uniform

    def sides(self, rows: Tensor) -> Sides:
        """Views of (N, ...) rows."""
        per_side = (self.chunks * self.size, self.uniform)
        parts = rows.split([self.groups * count for count in per_side * 2])
        return Sides(*(p.view(self.groups, n, *p.shape[1:]) for p, n in zip(parts, per_side * 2, strict=True)))

    def chunked(self, rows: Tensor) -> Tensor:
        """(G, n, ...) positives as (G * chunks, size, ...)."""
        return rows.view(self.groups * self.chunks, self.size, *rows.shape[2:])


class Buffers:
    """The memory of a step, kept from batch to batch of the same layout; D is the dimension."""

    def __init__(self, layout: Layout, dimension: int, dtype: torch.dtype, device: torch.device | None = None) -> None:
        def empty(*shape: int) -> Tensor:
            return torch.empty(shape, dtype=dtype, device=device)

        rows = 2 * layout.half
        per_group = layout.chunks * layout.size
        self.layout = layout
        self.vectors = empty(rows, dimension)
        self.projected = empty(rows, dimension)
        self.projected_gradients = empty(rows, dimension)
        self.gradients = empty(rows, dimension)
        self.within = empty(layout.groups * layout.chunks, layout.size, layout.size)  # heads times tails of a chunk
        self.right = empty(layout.groups, per_group, layout.uniform)  # heads times negative tails
        self.left = empty(layout.groups, per_group, layout.uniform)  # tails times negative heads
        # Only distances need what follows: squared lengths, and squared distances of the positives, which lie so close
        # that lengths minus products would lose all digits.
        self.norms = empty(rows)
        self.norm_gradients = empty(rows)
        self.apart = empty(layout.edges)
