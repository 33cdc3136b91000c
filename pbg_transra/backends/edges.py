"""Edges as they are from disk to gradient."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Edges:
    """E edges: rows of heads and tails in their partitions, relations, and, in a weighted graph, weights; each (E,)."""

    heads: Tensor
    tails: Tensor
    relations: Tensor
    weights: Tensor | None

    def __len__(self) -> int:
        return len(self.heads)

    def __getitem__(self, rows: Tensor | slice) -> "Edges":
        """Those of some rows: views for a slice."""
        weights = None if self.weights is None else self.weights[rows]
        return Edges(self.heads[rows], self.tails[rows], self.relations[rows], weights)
