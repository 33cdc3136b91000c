"""How near a user and an ad are: in the anchor space, and by each relation between their types; with ranks."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from artifacts.embeddings import ExportedRelation, is_scored, scores, similarities
from pipeline.lookup.edges import Edge
from pipeline.lookup.published import Published

BLOCK = 1 << 14  # tails compared together

Array = NDArray[Any]
Measure: TypeAlias = Callable[[Array], Array]


@dataclass(frozen=True)
class Scored:
    """A value of the pair, and its rank among all trained tails: 1 for the best, the mean rank among equals."""

    name: str
    value: float
    rank: float
    among: int


@dataclass(frozen=True)
class Supporting:
    """An entity that the user has a training edge with, and its similarity to the ad."""

    relation: str
    type: str
    id: str
    similarity: float


@dataclass(frozen=True)
class Pair:
    """A head and a tail, by rows of the export."""

    head_type: str
    head: int
    tail_type: str
    tail: int


def similarity_of(published: Published, pair: Pair) -> Scored:
    """Similarity in the anchor space, as `neighbors` has it, and the rank among the tail's type."""
    export = published.embeddings
    (query,) = export.queries(pair.head_type, np.array([pair.head]))
    kind = export.attributes["similarity"]
    own = pair.head if pair.head_type == pair.tail_type else None
    return _ranked(published, pair, "similarity", lambda block: similarities(query, block, kind), own)


def relation_scores(published: Published, pair: Pair) -> Iterator[Scored]:
    """The score by each relation from the head's type to the tail's whose operator is ours."""
    export = published.embeddings
    head = np.asarray(export.vectors(pair.head_type)[pair.head], np.float32)
    kind, scale = export.attributes["similarity"], float(export.attributes["scale"])
    for relation in between(export.relations, pair):
        if is_scored(relation):
            of_block = partial(_by, relation, head, kind, scale)
            yield _ranked(published, pair, relation.name, of_block, None)


def _by(relation: ExportedRelation, head: Array, kind: str, scale: float, tails: Array) -> Array:
    return scores(relation, head, tails, kind, scale)


def between(relations: Sequence[ExportedRelation], pair: Pair) -> list[ExportedRelation]:
    return [one for one in relations if (one.lhs, one.rhs) == (pair.head_type, pair.tail_type)]


def supporting(published: Published, pair: Pair, edges: Sequence[Edge], k: int) -> list[Supporting]:
    """The `k` ends of `edges`, which are the head's, that are nearest to the tail."""
    export = published.embeddings
    (ad,) = export.queries(pair.tail_type, np.array([pair.tail]))
    near = np.concatenate([_near(published, type, edges, ad) for type in _types(edges)] or [np.empty(0)])
    grouped = [edge for type in _types(edges) for edge in edges if edge.type == type]
    order = np.argsort(-near, kind="stable")[:k]
    found = [(grouped[at], float(near[at])) for at in order]
    return [Supporting(edge.relation, edge.type, export.id(edge.type, edge.row), value) for edge, value in found]


def _types(edges: Sequence[Edge]) -> list[str]:
    return list(dict.fromkeys(edge.type for edge in edges))


def _near(published: Published, type: str, edges: Sequence[Edge], ad: Array) -> Array:
    rows = np.array([edge.row for edge in edges if edge.type == type])
    vectors = np.asarray(published.embeddings.vectors(type)[rows], np.float32)
    return similarities(ad, vectors, published.embeddings.attributes["similarity"])


def _ranked(published: Published, pair: Pair, name: str, of_block: Measure, own: int | None) -> Scored:
    """`of_block` gives the values (B,) of a block of tails (B, D). `own`: a row that is no tail, the head itself."""
    vectors, left_out = published.embeddings.vectors(pair.tail_type), ~published.embeddings.trained(pair.tail_type)
    if own is not None:
        left_out[own] = True
    mine = float(of_block(np.asarray(vectors[pair.tail : pair.tail + 1], np.float32))[0])
    better = equal = 0
    for start in range(0, len(vectors), BLOCK):
        found = of_block(np.asarray(vectors[start : start + BLOCK], np.float32))
        found[left_out[start : start + len(found)]] = -np.inf
        if start <= pair.tail < start + len(found):
            found[pair.tail - start] = -np.inf
        better += int(np.count_nonzero(found > mine))
        equal += int(np.count_nonzero(found == mine))
    return Scored(name, mine, 1 + better + equal / 2, int(np.count_nonzero(~left_out)))
