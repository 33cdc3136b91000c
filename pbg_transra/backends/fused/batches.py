"""Cuts edges into batches that may hold several relations."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pbg_transra.backends.edges import Edges
from pbg_transra.backends.fused.layout import Layout
from pbg_transra.config import ModelConfig

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """G groups of edges, each of one relation, all of one kind; letters as in Layout.

    edges: all that are being trained, sorted by relation. starts, lengths: (G,) of the groups among them. relations:
    (G,).
    """

    layout: Layout
    edges: Edges
    starts: Indices
    lengths: Indices
    relations: Indices

    @property
    def count(self) -> int:
        """How many edges the groups have."""
        return int(self.lengths.sum())

    def padded(self) -> Edges:
        """The groups' edges, each column (..., G, n); the last edge of a group is repeated as often as it is
        shorter."""
        within = np.minimum(np.arange(self.lengths.max()), self.lengths[:, None] - 1)
        return self.edges[torch.from_numpy(self.starts[:, None] + within)]

    def distinct_relations(self) -> Tensor:
        """(G,), or (1,) when all are the same."""
        relations = torch.from_numpy(self.relations)
        return relations if (relations != relations[0]).any() else relations[:1]


class Batcher:
    """Full batches hold one relation. What is left of relations is mixed, so that many small ones cost no small steps.

    `kinds` (R,): relations of the same kind may share a batch.
    """

    def __init__(self, kinds: Tensor, config: ModelConfig) -> None:
        self.kinds = kinds.numpy()
        self.size = config.batch_size
        self.chunk = config.batch_negatives
        self.uniform = config.uniform_negatives
        self.piece = self.chunk or min(self.uniform, self.size)

    def batches(self, edges: Edges) -> Iterator[Batch]:
        """All edges once. `edges` come shuffled; the order of batches is shuffled here, by torch's generator."""
        relations = edges.relations.numpy().astype(np.int32 if len(self.kinds) > 2**15 else np.int16)
        edges = edges[torch.from_numpy(np.argsort(relations, kind="stable"))]  # radix sort on 16 bits
        sorted_relations = edges.relations.numpy()
        for starts, lengths in self.plan(np.bincount(relations, minlength=len(self.kinds))):
            yield Batch(self.layout(lengths), edges, starts, lengths, sorted_relations[starts])

    def plan(self, counts: Indices, generator: torch.Generator | None = None) -> list[tuple[Indices, Indices]]:
        """Starts and lengths (G,) of the groups of each batch, among edges that are sorted by relation.

        counts: (R,) edges of each relation. `generator` shuffles the batches, torch's own by default.
        """
        starts = np.cumsum(counts) - counts
        plan = [*self._full(starts, counts), *self._mixed(starts, counts)]
        return [plan[number] for number in torch.randperm(len(plan), generator=generator).tolist()]

    def layout(self, lengths: Indices) -> Layout:
        """That of a batch whose groups have so many edges, (G,)."""
        return Layout(len(lengths), *self._chunks(int(lengths.max())), self.uniform)

    def _full(self, starts: Indices, counts: Indices) -> Iterator[tuple[Indices, Indices]]:
        """Starts and lengths (G,) of the groups of full batches."""
        offsets = np.arange(0, self.size, self.piece)
        lengths = np.minimum(self.piece, self.size - offsets)
        for relation in np.flatnonzero(counts >= self.size):
            for batch in range(counts[relation] // self.size):
                yield starts[relation] + batch * self.size + offsets, lengths

    def _mixed(self, starts: Indices, counts: Indices) -> Iterator[tuple[Indices, Indices]]:
        """The same of what full batches leave: pieces of like length, because the shorter ones are padded."""
        left = counts % self.size
        pieces = -(-left // self.piece)
        relations = np.repeat(np.arange(len(counts)), pieces)
        number = np.arange(len(relations)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        lengths = np.minimum(self.piece, left[relations] - number * self.piece)
        begins = (starts + counts - left)[relations] + number * self.piece
        kinds = self.kinds[relations]
        for kind in np.unique(kinds):
            chosen = np.flatnonzero(kinds == kind)
            chosen = chosen[np.argsort(-lengths[chosen], kind="stable")]
            for batch in range(0, len(chosen), self._pieces_per_batch):
                members = chosen[batch : batch + self._pieces_per_batch]
                yield begins[members], lengths[members]

    @property
    def _pieces_per_batch(self) -> int:
        return self.size // self.piece

    def _chunks(self, per_group: int) -> tuple[int, int]:
        """Number and size of the chunks of a group; without batch negatives an edge is a chunk of its own."""
        return (1, per_group) if self.chunk else (per_group, 1)
