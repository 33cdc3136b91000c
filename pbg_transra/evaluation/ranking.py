"""The rank of each test triple's answer among all candidates of its type, in one pass over the candidates.

All matrix products have one fixed shape, whatever the block on disk that a candidate comes from, and the answer's own
score is computed by the same product: so equal vectors get equal scores, ties are exact, and neither partitions nor
blocks can move a rank.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pbg_transra.config import Similarity
from pbg_transra.evaluation.edges import Rows
from pbg_transra.evaluation.filter import KnownAnswers
from pbg_transra.evaluation.views import Views, bias, prepared

QUERIES = 64  # rows and columns of one matrix product: scores of this size stay in the processor's cache
CANDIDATES = 2048

Candidates = Iterator[tuple[int, Tensor]]
Index: TypeAlias = "NDArray[Any] | slice"


@dataclass(frozen=True)
class Ranks:
    """What T answers met, each (T,): false candidates scored above them, at the same score, and in all."""

    above: Rows
    ties: Rows
    others: Rows

    @property
    def rank(self) -> NDArray[np.float64]:
        """Returns the mean rank over all orders of the ties: 1 is best."""
        return np.asarray(1 + self.above + self.ties / 2)

    def put_(self, index: Rows, ranks: "Ranks") -> None:
        """Overwrites the ranks at `index` by others."""
        self.above[index], self.ties[index], self.others[index] = ranks.above, ranks.ties, ranks.others

    def __getitem__(self, index: Index) -> "Ranks":
        return Ranks(self.above[index], self.ties[index], self.others[index])


@dataclass(frozen=True)
class Tile:
    """Candidates [start, start + count) as a view sees them: padded vectors (CANDIDATES, D) and bias (CANDIDATES,)."""

    start: int
    count: int
    vectors: Tensor
    bias: Tensor


@dataclass(frozen=True)
class Batch:
    """B triples: `index` (B,) in their direction, prepared and padded queries (QUERIES, D), own scores (B, 1)."""

    index: Rows
    queries: Tensor
    own: Tensor


class Group:
    """The triples of a direction that see candidates through the same view."""

    def __init__(
        self, index: Rows, queries: Tensor, answers: Tensor, views: Views, side: str, like: Similarity
    ) -> None:
        """`index` (G,) are places in the direction; `queries` and `answers` (G, D) the vectors of both ends."""
        self._view, self._similarity = views.answers(side), like
        self.batches = [
            batch
            for start in range(0, len(index), CANDIDATES)
            for batch in self._batches(
                index[start : start + CANDIDATES],
                views.queries(side)(queries[start : start + CANDIDATES]),
                self.tile(0, answers[start : start + CANDIDATES]),
            )
        ]

    def _batches(self, index: Rows, queries: Tensor, answers: Tile) -> Iterator[Batch]:
        """Yields batches of up to CANDIDATES triples whose answers fill one tile: own scores lie on its diagonal."""
        for start in range(0, len(index), QUERIES):
            part = slice(start, start + QUERIES)
            of_batch = _padded(prepared(queries[part], self._similarity), QUERIES)
            own = _scores(of_batch, answers).diagonal(start)[: len(index[part]), None]
            yield Batch(index[part], of_batch, own.clone())

    def tile(self, start: int, vectors: Tensor) -> Tile:
        seen = prepared(self._view(_padded(vectors, CANDIDATES)), self._similarity)
        return Tile(start, len(vectors), seen, bias(seen, self._similarity))


def rank_direction(
    known: KnownAnswers, candidates: Candidates, count: int, groups: list[Group], progress: Callable[[float], None]
) -> Ranks:
    """Ranks the triples of a direction among `count` streamed candidates, numbered as in `known`."""
    triples = np.arange(len(known.question))
    above, ties = np.zeros_like(triples), np.zeros_like(triples)
    for start, block in candidates:
        for offset in range(0, len(block), CANDIDATES):
            part = block[offset : offset + CANDIDATES]
            for group in groups:
                tile = group.tile(start + offset, part)
                for batch in group.batches:
                    _count_(above, ties, batch, tile, known)
            progress((start + offset + len(part)) / count)
    return Ranks(above, ties, count - known.counts(triples))


def _count_(above: Rows, ties: Rows, batch: Batch, tile: Tile, known: KnownAnswers) -> None:
    """Adds to `above` and `ties` (T,) the candidates of a tile, less those known to be true (the answer is one)."""
    scores = _scores(batch.queries, tile)[: len(batch.index), : tile.count]
    above[batch.index] += (scores > batch.own).sum(1).numpy()
    ties[batch.index] += (scores == batch.own).sum(1).numpy()
    row, column = known.between(batch.index, tile.start, tile.start + tile.count)
    true, own = scores[row, column].numpy(), batch.own[row, 0].numpy()
    above[batch.index] -= np.bincount(row[true > own], minlength=len(batch.index))
    ties[batch.index] -= np.bincount(row[true == own], minlength=len(batch.index))


def _scores(queries: Tensor, tile: Tile) -> Tensor:
    return torch.addmm(tile.bias, queries, tile.vectors.T)


def _padded(vectors: Tensor, rows: int) -> Tensor:
    """Returns vectors (B, D) with rows of zeros below, (rows, D)."""
    if len(vectors) == rows:
        return vectors
    return torch.cat([vectors, vectors.new_zeros(rows - len(vectors), vectors.shape[1])])
