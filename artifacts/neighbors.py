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
    query = np.array(embeddings.vectors(entity_type)[row], np.float32)
    embeddings.require_finite(entity_type, query[None], row)
    if (against := embeddings.attributes["bias_against"]) and entity_type not in against:
        query[0] = 0  # a bias is meant for the constant that these types have in its place
    rows, scores = _nearest(embeddings, to_type, query, k, excluded=row if to_type == entity_type else -1)
    return [Neighbor(embeddings.id(to_type, int(r)), float(score)) for r, score in zip(rows, scores, strict=True)]


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


def similarities(query: Array, block: Array, similarity: str) -> Array:
    """Compares one vector (D,) with a block (B, D): (B,). A vector of zeros has cosine 0 with everything."""
    if similarity == "dot":
        return np.asarray(block @ query)
    if similarity == "cos":
        norms = np.linalg.norm(block, axis=1) * np.linalg.norm(query)
        return np.asarray(block @ query / np.maximum(norms, np.finfo(np.float32).tiny))
    squared = np.square(block - query).sum(axis=1)
    return np.asarray(-np.sqrt(squared) if similarity == "l2" else -squared)
