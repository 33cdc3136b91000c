"""Exact nearest neighbours of one entity in the anchor space: plain similarity of exported vectors, no projection.

    transra neighbors CONFIG TYPE ID --k 10 --to TYPE

Streams over the memory-mapped vectors in blocks of rows.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from artifacts.embeddings import Embeddings
from artifacts.errors import ConfigError, DataError
from artifacts.section import did_you_mean

BLOCK_ROWS = 1 << 16
QUERIED_ROWS = 1 << 14  # of a block, where many ask at once

Array = NDArray[Any]


class Neighbor(NamedTuple):
    """An entity and its similarity to the asked one: higher is nearer, distances are negative."""

    id: str
    similarity: float


def neighbors(embeddings: Embeddings, entity_type: str, id: str, k: int, to_type: str) -> list[Neighbor]:
    """Returns the `k` entities of `to_type` most similar to the entity, nearest first, itself left out.

    Raises ConfigError for an unknown type, DataError for an unknown id and for a vector that is not
    finite.
    """
    for name in (entity_type, to_type):
        if name not in embeddings.types:
            raise ConfigError(f"unknown entity type '{name}'{did_you_mean(name, list(embeddings.types))}")
    row = int(embeddings.rows(entity_type, [id])[0])
    if row < 0:
        raise DataError(f"{embeddings.path}: entity type '{entity_type}' has no id {id!r}")
    (query,) = query_vectors(embeddings, entity_type, np.array([row]))
    rows, scores = _nearest(embeddings, to_type, query, k, excluded=row if to_type == entity_type else -1)
    return [Neighbor(embeddings.id(to_type, int(r)), float(score)) for r, score in zip(rows, scores, strict=True)]


def query_vectors(embeddings: Embeddings, entity_type: str, rows: Array) -> Array:
    """The vectors of entities as they ask for others, (Q, D) float32. Raises DataError for one that is not finite."""
    queries = np.array(embeddings.vectors(entity_type)[rows], np.float32)
    embeddings.require_finite(entity_type, queries, int(rows[0]) if len(rows) else 0)
    if (against := embeddings.attributes["bias_against"]) and entity_type not in against:
        queries[:, 0] = 0  # a bias is meant for the constant that these types have in its place
    return queries


def _nearest(embeddings: Embeddings, to_type: str, query: Array, k: int, excluded: int) -> tuple[Array, Array]:
    """Returns the rows and similarities of the best `k`, nearest first and by row among equals."""
    vectors, similarity = embeddings.vectors(to_type), embeddings.attributes["similarity"]
    best_rows, best_scores = np.empty(0, np.int64), np.empty(0, np.float32)
    for start in range(0, len(vectors), BLOCK_ROWS):
        block = np.asarray(vectors[start : start + BLOCK_ROWS], np.float32)
        embeddings.require_finite(to_type, block, start)
        rows = np.arange(start, start + len(block))
        keep = rows != excluded
        rows = np.concatenate([best_rows, rows[keep]])
        scores = np.concatenate([best_scores, similarities(query, block, similarity)[keep]])
        order = np.lexsort((rows, -scores))[:k]
        best_rows, best_scores = rows[order], scores[order]
    return best_rows, best_scores


def nearest_rows(
    embeddings: Embeddings, to_type: str, queries: Array, k: int, excluded: Array | None = None
) -> tuple[Array, Array]:
    """Returns rows and similarities of the `k` entities of `to_type` nearest to each of Q vectors (Q, D), both (Q, k).

    Nearest first; where fewer than `k` are left, rows end in -1. `excluded`, (Q,): a row that each query leaves out,
    such as its own, -1 for none. Raises DataError for a vector that is not finite.
    """
    vectors, similarity = embeddings.vectors(to_type), embeddings.attributes["similarity"]
    rows = np.full((len(queries), k), -1, np.int64)
    best = np.full((len(queries), k), -np.inf, np.float32)
    for start in range(0, len(vectors), QUERIED_ROWS):
        block = np.asarray(vectors[start : start + QUERIED_ROWS], np.float32)
        embeddings.require_finite(to_type, block, start)
        scores = _all_similarities(queries, block, similarity)
        if excluded is not None:
            mine = np.flatnonzero((excluded >= start) & (excluded < start + len(block)))
            scores[mine, excluded[mine] - start] = -np.inf
        for query in np.flatnonzero(scores.max(axis=1, initial=-np.inf) > best[:, -1]):
            every = np.concatenate([best[query], scores[query]])
            all_rows = np.concatenate([rows[query], np.arange(start, start + len(block))])
            kept = np.argpartition(-every, min(k, len(every) - 1))[:k] if len(every) > k else np.arange(len(every))
            kept = kept[np.lexsort((all_rows[kept], -every[kept]))]
            rows[query], best[query] = all_rows[kept], every[kept]
    return rows, best


def _all_similarities(queries: Array, block: Array, similarity: str) -> Array:
    """`similarities` of many vectors (Q, D) at once: (Q, B)."""
    if similarity == "dot":
        return np.asarray(queries @ block.T)
    if similarity == "cos":
        norms = np.outer(np.linalg.norm(queries, axis=1), np.linalg.norm(block, axis=1))
        return np.asarray(queries @ block.T / np.maximum(norms, np.finfo(np.float32).tiny))
    squared = np.square(queries).sum(axis=1)[:, None] + np.square(block).sum(axis=1) - 2 * (queries @ block.T)
    squared = np.maximum(squared, 0)  # what cancels may leave less
    return np.asarray(-np.sqrt(squared) if similarity == "l2" else -squared)


def similarities(query: Array, block: Array, similarity: str) -> Array:
    """Compares one vector (D,) with a block (B, D): (B,). A vector of zeros has cosine 0 with everything."""
    if similarity == "dot":
        return np.asarray(block @ query)
    if similarity == "cos":
        norms = np.linalg.norm(block, axis=1) * np.linalg.norm(query)
        return np.asarray(block @ query / np.maximum(norms, np.finfo(np.float32).tiny))
    squared = np.square(block - query).sum(axis=1)
    return np.asarray(-np.sqrt(squared) if similarity == "l2" else -squared)
