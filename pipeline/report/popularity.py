"""The simplest recommender, to hold retrieval against: everybody is shown the tails with the most training edges.

As the lists of `anchor_retrieval.per_query` are judged: tails that a head is known to have in other splits are no part
of its list, and the share of its answers among the first k is a mean over heads.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifacts.formats.bucket_file import BucketFile
from artifacts.formats.graph import SPLITS, Graph, Side, bucket_path

MOST_EDGES = 30_000_000  # training edges of a graph that is read for it: some seconds
MOST_HEADS = 2000  # of a relation
MOST_RELATIONS = 20
BLOCK = 1 << 20  # edges read at a time

Rows = NDArray[np.int64]
NONE: Rows = np.empty(0, np.int64)


@dataclass(frozen=True)
class _Asked:
    """Heads of a relation that ask, (Q,) ascending, and their pairs of position and tail as position * N + tail."""

    heads: Rows
    answers: Rows
    tails: int


def popularity(
    directory: Path, graph: Graph, split: str, relations: Sequence[str], k: int
) -> tuple[dict[str, float], str]:
    """Returns recall@k by relation of the graph in `directory`, and a remark on how it was measured."""
    if graph.edges("train") > MOST_EDGES:
        return {}, f"Popularity is not computed for graphs of more than {MOST_EDGES:,} training edges."
    positions = {relation.name: index for index, relation in enumerate(graph.relations)}
    chosen = [positions[name] for name in relations[:MOST_RELATIONS]]
    asked = {index: _asked(directory, graph, split, index) for index in chosen}
    counts = {index: np.zeros(one.tails, np.int64) for index, one in asked.items()}
    known: dict[int, list[Rows]] = {index: [] for index in asked}
    for other in SPLITS:
        if other == split:
            continue
        for index, heads, tails in _edges(directory, graph, other, chosen):
            if other == "train":
                counts[index] += np.bincount(tails, minlength=asked[index].tails)
            known[index].append(_pairs(asked[index], heads, tails))
    found = {
        graph.relations[index].name: _recall(one, counts[index], np.unique(np.concatenate([NONE, *known[index]])), k)
        for index, one in asked.items()
        if len(one.heads)
    }
    return (
        found,
        f"Heads ask for tails. Popularity: tails by training edges of the relation, for up to {MOST_HEADS:,} heads.",
    )


def _asked(directory: Path, graph: Graph, split: str, index: int) -> _Asked:
    edges = [(heads, tails) for _, heads, tails in _edges(directory, graph, split, [index])]
    heads = np.concatenate([NONE, *(one for one, _ in edges)])
    tails = np.concatenate([NONE, *(one for _, one in edges)])
    distinct = np.unique(heads)
    if len(distinct) > MOST_HEADS:
        distinct = np.sort(np.random.default_rng(0).choice(distinct, MOST_HEADS, replace=False))
    empty = _Asked(distinct, NONE, graph.entity_type(graph.relations[index].rhs).count)
    return _Asked(distinct, np.unique(_pairs(empty, heads, tails)), empty.tails)


def _pairs(asked: _Asked, heads: Rows, tails: Rows) -> Rows:
    """Edges of heads that ask, as position * N + tail."""
    if not len(asked.heads):
        return NONE
    at = np.minimum(np.searchsorted(asked.heads, heads), len(asked.heads) - 1)
    mine = asked.heads[at] == heads
    return at[mine] * asked.tails + tails[mine]


def _edges(directory: Path, graph: Graph, split: str, chosen: Sequence[int]) -> Iterator[tuple[int, Rows, Rows]]:
    """Yields rows of heads and tails of the chosen relations, as an export numbers them, block by block."""
    starts = {kind.name: np.concatenate([[0], np.cumsum(kind.counts)]) for kind in graph.entity_types}

    def rows(index: int, side: Side, part: int, offsets: Rows) -> Any:
        kind = graph.entity_type(graph.relations[index].type(side))
        return starts[kind.name][kind.partition_in(part)] + offsets

    for bucket in graph.buckets():
        with BucketFile(bucket_path(directory, split, bucket)) as file:
            for begin in range(0, len(file), BLOCK):
                edges = file.columns(begin, begin + BLOCK)
                for index in chosen:
                    mine = edges.rel == index
                    if mine.any():
                        heads = rows(index, Side.LHS, bucket.lhs, edges.lhs[mine])
                        yield index, heads, rows(index, Side.RHS, bucket.rhs, edges.rhs[mine])


def _recall(asked: _Asked, counts: Rows, known: Rows, k: int) -> float:
    """The mean share of a head's answers among the k most popular tails that it is not known to have."""
    by_head = np.searchsorted(known, np.arange(len(asked.heads) + 1) * asked.tails)
    answers = np.searchsorted(asked.answers, np.arange(len(asked.heads) + 1) * asked.tails)
    popular = np.argsort(-counts, kind="stable")[: k + int(np.diff(by_head).max(initial=0))]
    shares = []
    for head in range(len(asked.heads)):
        has = known[by_head[head] : by_head[head + 1]] - head * asked.tails
        wanted = asked.answers[answers[head] : answers[head + 1]] - head * asked.tails
        wanted = wanted[~np.isin(wanted, has)]
        listed = popular[~np.isin(popular, has)][:k]
        if len(wanted):
            shares.append(np.isin(wanted, listed).mean())
    return float(np.mean(shares)) if shares else 0.0
