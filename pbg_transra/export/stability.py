"""How much an export differs from the one before it: whose neighbours a drawn sample has kept, and what a rotation does
not explain.

    neighbors                   k of the nearest neighbours
    fitted_on                   entities that the alignment was fitted on, of all types: none of those measured
    types.<name>.entities       drawn ones that both have
    types.<name>.known_before   share of this export's entities that the previous one has, by the draw
    types.<name>.overlap        of the k nearest of the same type, by id, the share that is the same in both
    types.<name>.by_chance      what it would be of random neighbours
    types.<name>.cosine         mean cosine of an entity's two vectors
    types.<name>.cosine_aligned the same after the rotation (orthogonal Procrustes) that fits all types best

Two trainings from different seeds are two rotations of a space at best, so `cosine` tells whether vectors can be mixed
with yesterday's, `cosine_aligned` whether they say the same. It is null where too few entities are left to fit on.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifacts.embeddings import Embeddings

SAMPLE = 500  # of each type
FIT = 5000  # of each type
K = 10
BLOCK_ROWS = 1 << 14  # scores of a block and the sample: 32 MiB

Array = NDArray[Any]


@dataclass(frozen=True)
class _Shared:
    """Entities of a type that both exports have: their rows in each, (M,); the first `measured` are the sample."""

    current: Array
    previous: Array
    measured: int
    known_before: float


def stability(current: Path, previous: Path, seed: int = 0) -> dict[str, Any]:
    """Returns the tree; both are paths of an embeddings.h5. Raises DataError for what is none."""
    now, before = Embeddings(current), Embeddings(previous)
    drawn = {name: _drawn(now, before, name, seed) for name in now.types if name in before.types}
    shared = {name: found for name, found in drawn.items() if found.measured}
    rotation, fitted_on = _rotation(now, before, shared)
    types = {
        name: {
            "entities": found.measured,
            "known_before": found.known_before,
            **_overlap(now, before, name, found),
            **_cosines(now, before, name, found, rotation),
        }
        for name, found in shared.items()
    }
    return {"neighbors": K, "fitted_on": fitted_on, "types": types}


def _drawn(now: Embeddings, before: Embeddings, name: str, seed: int) -> _Shared:
    trained = np.flatnonzero(now.trained(name))
    count = len(trained)
    rows = trained[np.random.default_rng(seed).choice(count, min(count, SAMPLE + FIT), replace=False)]
    found = before.rows(name, now.ids(name).take(rows))
    known = found >= 0
    measured = min(SAMPLE, int(known.sum()))
    return _Shared(rows[known], found[known], measured, float(known.mean()) if count else 0.0)


def _unit(export: Embeddings, name: str, rows: Array) -> Array:
    """Returns vectors of length 1 (0 stays 0), (M, D)."""
    return _normalized(np.asarray(export.vectors(name)[rows], np.float32))


def _normalized(vectors: Array) -> Array:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny))


def _rotation(now: Embeddings, before: Embeddings, shared: dict[str, _Shared]) -> tuple[Array | None, int]:
    """Returns the orthogonal (D, D) that turns the previous vectors nearest to these, from entities that are not
    measured, and their number; None where dimensions differ or they are fewer than two a dimension."""
    fitted_on = sum(len(found.current) - found.measured for found in shared.values())
    if now.dimension != before.dimension or fitted_on < 2 * now.dimension:
        return None, 0
    product = np.zeros((now.dimension, now.dimension))
    for name, found in shared.items():
        rest = slice(found.measured, None)
        product += _unit(before, name, found.previous[rest]).T @ _unit(now, name, found.current[rest])
    left, _, right = np.linalg.svd(product)
    return left @ right, fitted_on


def _cosines(
    now: Embeddings, before: Embeddings, name: str, found: _Shared, rotation: Array | None
) -> dict[str, float | None]:
    if now.dimension != before.dimension:
        return {"cosine": None, "cosine_aligned": None}
    ours, theirs = (
        _unit(export, name, rows[: found.measured]) for export, rows in ((now, found.current), (before, found.previous))
    )
    aligned = None if rotation is None else float((ours * (theirs @ rotation)).sum(1).mean())
    return {"cosine": float((ours * theirs).sum(1).mean()), "cosine_aligned": aligned}


def _overlap(now: Embeddings, before: Embeddings, name: str, found: _Shared) -> dict[str, float | None]:
    others = int(now.trained(name).sum()) - 1
    k = min(K, others, int(before.trained(name).sum()) - 1)
    if k < 1:
        return {"overlap": None, "by_chance": None}
    ours = nearest(now, name, found.current[: found.measured], k)
    theirs = nearest(before, name, found.previous[: found.measured], k)
    by_id = before.rows(name, now.ids(name).take(ours.reshape(-1))).reshape(ours.shape)  # -1: not there
    same = [len(np.intersect1d(*pair)) / k for pair in zip(by_id, theirs, strict=True)]
    return {"overlap": float(np.mean(same)), "by_chance": k / others}


def nearest(export: Embeddings, name: str, rows: Array, k: int) -> Array:
    """Returns the rows of the `k` most similar entities of the same type to each of Q entities, (Q, k), as
    `artifacts.neighbors` finds them, themselves left out; in no order."""
    queries = np.asarray(export.vectors(name)[rows], np.float32)
    if (against := export.attributes["bias_against"]) and name not in against:
        queries[:, 0] = 0  # a bias is meant for the constant that these types have in its place
    similarity, trained = export.attributes["similarity"], export.trained(name)
    best_rows, best = np.full((len(rows), k), -1), np.full((len(rows), k), -np.inf, np.float32)
    for start in range(0, export.count(name), BLOCK_ROWS):
        block = np.arange(start, min(start + BLOCK_ROWS, export.count(name)))
        scores = _scores(queries, np.asarray(export.vectors(name)[block[0] : block[-1] + 1], np.float32), similarity)
        mine = (rows >= start) & (rows < start + len(block))
        scores[np.flatnonzero(mine), rows[mine] - start] = -np.inf
        scores[:, ~trained[block]] = -np.inf
        for query in np.flatnonzero(scores.max(1) > best.min(1)):
            every = np.concatenate([best[query], scores[query]])
            kept = np.argpartition(-every, k - 1)[:k]
            best_rows[query], best[query] = np.concatenate([best_rows[query], block])[kept], every[kept]
    return best_rows


def _scores(queries: Array, block: Array, similarity: str) -> Array:
    """Returns scores (Q, B) in the order of the similarities of each query."""
    if similarity == "cos":
        return queries @ _normalized(block).T
    if similarity == "dot":
        return queries @ block.T
    return queries @ block.T - np.square(block).sum(1) / 2
