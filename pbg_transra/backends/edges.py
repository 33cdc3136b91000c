"""Edges as they are from disk to gradient."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Edges:
    """E edges: rows of heads and tails in their partitions, relations, and, in a weighted graph, weights; each (E,).

    decays: (2, E) factors on the regularization of heads and of tails, where there is any.
    """

    heads: Tensor
    tails: Tensor
    relations: Tensor
    weights: Tensor | None
    decays: Tensor | None = None

    def __len__(self) -> int:
        return len(self.heads)

    def __getitem__(self, rows: Tensor | slice) -> "Edges":
        """Those of some rows: views for a slice."""
        weights = None if self.weights is None else self.weights[rows]
        decays = None if self.decays is None else self.decays[:, rows]
        return Edges(self.heads[rows], self.tails[rows], self.relations[rows], weights, decays)
