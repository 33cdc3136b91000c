"""The rank of each test triple's answer among all candidates of its type, in one pass over the candidates.

All matrix products have one fixed shape, whatever the block on disk that a candidate comes from, and the answer's own
score is computed by the same product: so equal vectors get equal scores, ties are exact, and neither partitions nor
blocks can move a rank.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from artifacts.machine.resources import cpu_count
from pbg_transra.config import Similarity
from pbg_transra.evaluation.global_edges import Rows
from pbg_transra.evaluation.known_answers import KnownAnswers
from pbg_transra.evaluation.views import bias, prepared
from pbg_transra.pbg.views import View

QUERIES = 64  # rows and columns of one matrix product: scores of this size stay in the processor's cache
CANDIDATES = 2048

Candidates = Iterator[tuple[int, Tensor]]
Index: TypeAlias = "NDArray[Any] | slice"


def workers() -> ThreadPoolExecutor:
    """Returns a thread per core, each of which runs torch on its own core.

    Threads inside torch's operations would wait for each other after every one of these small products: some 20
    times slower (measured) while other processes want the cores.
    """
    return ThreadPoolExecutor(cpu_count(), initializer=torch.set_num_threads, initargs=(1,))


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
class Group:
    """Up to CANDIDATES triples of a direction that see candidates through the same view.

    index:      (G,) places in the direction
    queries:    prepared, padded and cut into batches, (QUERIES, D) each
    own:        (G, 1) scores of the answers
    itself:     (G, 1) scores of the entities asked from, as candidates
    """

    index: Rows
    queries: Sequence[Tensor]
    own: Tensor
    itself: Tensor
    view: View
    similarity: Similarity

    def scores(self, candidates: Tensor) -> Iterator[Tensor]:
        """Yields the scores of up to CANDIDATES vectors (C, D) against each batch of queries: (B, C).

        All batches are scored into the same memory: what was yielded is overwritten by the next.
        """
        seen = prepared(self.view(_padded(candidates, CANDIDATES)), self.similarity)
        extra, scores = bias(seen, self.similarity), seen.new_empty(QUERIES, CANDIDATES)
        for start, queries in zip(range(0, len(self.index), QUERIES), self.queries, strict=True):
            torch.addmm(extra, queries, seen.T, out=scores)
            yield scores[: len(self.index) - start, : len(candidates)]


def make_group(
    index: Rows,
    barred: bool,
    queries: Tensor,
    answers: Tensor,
    query_view: View,
    answer_view: View,
    similarity: Similarity,
) -> Group:
    """Makes the group of the G triples at `index`, given the vectors of both ends of all T triples, (T, D).

    `barred`: whether the entity asked from is barred in any of them; else `itself` stays 0.
    """
    seen = prepared(query_view(queries[index]), similarity)
    batches = [_padded(seen[start : start + QUERIES], QUERIES) for start in range(0, len(index), QUERIES)]
    own, itself = (seen.new_zeros(len(index), 1) for _ in range(2))
    group = Group(index, batches, own, itself, answer_view, similarity)
    for found, vectors in ((group.own, answers), (group.itself, queries))[: 1 + barred]:
        for start, scores in zip(range(0, len(index), QUERIES), group.scores(vectors[index]), strict=True):
            found[start : start + QUERIES, 0] = scores.diagonal(start)
    return group


def _padded(vectors: Tensor, rows: int) -> Tensor:
    """Returns vectors (B, D) with rows of zeros below, (rows, D)."""
    if len(vectors) == rows:
        return vectors
    return torch.cat([vectors, vectors.new_zeros(rows - len(vectors), vectors.shape[1])])


def rank_direction(
    known: KnownAnswers,
    candidates: Candidates,
    count: int,
    groups: list[Group],
    pool: Executor,
    progress: Callable[[float], None],
) -> Ranks:
    """Ranks the triples of a direction among `count` streamed candidates, numbered as in `known`."""
    triples = np.arange(len(known.question))
    above, ties = np.zeros_like(triples), np.zeros_like(triples)
    for first, block in candidates:
        work = list(product(groups, range(0, len(block), CANDIDATES)))

        def count_one(item: tuple[Group, int], first: int = first, block: Tensor = block) -> tuple[Rows, Rows]:
            group, start = item
            return _better(group, known, first + start, block[start : start + CANDIDATES])

        counted = zip(work, pool.map(count_one, work), strict=True)
        for done, ((group, _), (more_above, more_ties)) in enumerate(counted, 1):
            above[group.index] += more_above
            ties[group.index] += more_ties
            progress((first + len(block) * done / len(work)) / count)
    return Ranks(above, ties, count - known.counts(triples))


def own_entity_allowed(ranks: Ranks, known: KnownAnswers, groups: list[Group]) -> Ranks:
    """Returns the ranks of a direction's T triples as they would be with nothing barred (see known_answers.py)."""
    barred = known.barred[known.question]
    above, ties = ranks.above.copy(), ranks.ties.copy()
    for group in groups:
        above[group.index] += barred[group.index] & (group.itself > group.own)[:, 0].numpy()
        ties[group.index] += barred[group.index] & (group.itself == group.own)[:, 0].numpy()
    return Ranks(above, ties, ranks.others + barred)


def _better(group: Group, known: KnownAnswers, first: int, candidates: Tensor) -> tuple[Rows, Rows]:
    """Returns how many of the candidates (C, D), numbered from `first`, score above and level with each answer, (G,).

    Those known to be true do not count; the answer is one of them. Comparing into floats and adding those up takes a
    fifth of the time that truth values take (measured), and is exact up to 1 << 24 candidates.
    """
    row, column = (torch.from_numpy(part) for part in known.between(group.index, first, first + len(candidates)))
    ends = torch.searchsorted(row, torch.arange(0, len(group.index) + QUERIES, QUERIES)).tolist()
    beaten = group.own.new_empty(QUERIES, CANDIDATES)
    above, level = torch.empty_like(group.own[:, 0]), torch.empty_like(group.own[:, 0])
    for batch, scores in enumerate(group.scores(candidates)):
        part, those = slice(batch * QUERIES, batch * QUERIES + len(scores)), slice(ends[batch], ends[batch + 1])
        scores[row[those] - part.start, column[those]] = -torch.inf
        flags = beaten[: scores.shape[0], : scores.shape[1]]
        torch.sum(torch.gt(scores, group.own[part], out=flags), 1, out=above[part])
        torch.sum(torch.eq(scores, group.own[part], out=flags), 1, out=level[part])
    return above.numpy().astype(np.int64), level.numpy().astype(np.int64)
