"""Similarity of exported vectors, and exact nearest neighbours by it: blocks of rows stream over mapped vectors."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

BLOCK_ROWS = 1 << 14

Array = NDArray[Any]


class Neighbor(NamedTuple):
    """An entity and its similarity to the asked one: higher is nearer, distances are negative."""

    id: str
    similarity: float


def similarities(query: Array, block: Array, similarity: str) -> Array:
    """Compares one vector (D,) with a block (B, D): (B,). A vector of zeros has cosine 0 with everything."""
    if similarity == "dot":
        return np.asarray(block @ query)
    if similarity == "cos":
        norms = np.linalg.norm(block, axis=1) * np.linalg.norm(query)
        return np.asarray(block @ query / np.maximum(norms, np.finfo(np.float32).tiny))
    squared = np.square(block - query).sum(axis=1)
    return np.asarray(-np.sqrt(squared) if similarity == "l2" else -squared)


def nearest_rows(
    vectors: Array,
    similarity: str,
    queries: Array,
    k: int,
    excluded: Array | None = None,
    among: Array | None = None,
    check: Callable[[Array, int], None] = lambda block, start: None,
) -> tuple[Array, Array]:
    """Returns rows and similarities of the `k` of `vectors` (N, D) nearest to each of Q queries (Q, D), both (Q, k).

    Nearest first, by row among equals; where fewer than `k` are left, rows end in -1. `excluded`, (Q,): a row that each
    query leaves out, such as its own, -1 for none; `among`, (N,) bool: those that can be found, None for all. `check`
    sees each block and the row that it begins at.
    """
    rows, best = np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), -np.inf, np.float32)
    for start in range(0, len(vectors) if k else 0, BLOCK_ROWS):
        block = np.asarray(vectors[start : start + BLOCK_ROWS], np.float32)
        check(block, start)
        scores = _scores(queries, block, similarity)
        if among is not None:
            scores[:, ~among[start : start + len(block)]] = -np.inf
        if excluded is not None:
            mine = np.flatnonzero((excluded >= start) & (excluded < start + len(block)))
            scores[mine, excluded[mine] - start] = -np.inf
        for query in np.flatnonzero(scores.max(axis=1, initial=-np.inf) > best[:, -1]):
            better = np.flatnonzero(scores[query] > best[query, -1])
            every = np.concatenate([best[query], scores[query, better]])
            of_every = np.concatenate([rows[query], start + better])
            order = np.lexsort((of_every, -every))[:k]
            rows[query], best[query] = of_every[order], every[order]
    return rows, best


def _scores(queries: Array, block: Array, similarity: str) -> Array:
    """`similarities` of Q vectors: (Q, B)."""
    if len(queries) == 1 or similarity in ("l2", "squared_l2"):
        return np.stack([similarities(query, block, similarity) for query in queries])
    products = queries @ block.T
    if similarity == "cos":
        norms = np.outer(np.linalg.norm(queries, axis=1), np.linalg.norm(block, axis=1))
        products /= np.maximum(norms, np.finfo(np.float32).tiny)
    return np.asarray(products)
