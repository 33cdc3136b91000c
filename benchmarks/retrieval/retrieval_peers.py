"""Popularity, ALS and item-kNN of `implicit`, and a truncated SVD, on pairs that bench_retrieval wrote.

Runs in an environment of its own (make bench-retrieval makes it) and knows nothing of the project: the same metrics are
computed here a second time, from sorted scores. Prints one JSON object.

    python retrieval_peers.py DIRECTORY DIMENSION
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import scipy.sparse as sp
from implicit.als import AlternatingLeastSquares
from implicit.nearest_neighbours import CosineRecommender
from scipy.sparse.linalg import svds

K = 20
BLOCK = 1000
Scores = Callable[[np.ndarray], np.ndarray]  # users to (users, items)
Settings = dict[str, Any]


class Data(NamedTuple):
    """(users, items): what is trained on, what is left out of lists, what is to be found."""

    train: sp.csr_matrix
    seen: sp.csr_matrix
    held_out: sp.csr_matrix


def load(directory: Path) -> Data:
    pairs = {name: pq.read_table(directory / f"{name}.parquet") for name in ("train", "side", "held_out")}
    columns = {name: [table[column].to_numpy() for column in ("user_id", "item_id")] for name, table in pairs.items()}
    shape = tuple(1 + max(int(c[i].max()) for c in columns.values() if len(c[i])) for i in (0, 1))

    def matrix(*names: str) -> sp.csr_matrix:
        users, items = (np.concatenate([columns[name][i] for name in names]) for i in (0, 1))
        found = sp.csr_matrix((np.ones(len(users), np.float32), (users, items)), shape)
        found.data[:] = 1
        return found

    seen, held_out = matrix("train"), matrix("held_out")
    held_out = (held_out - held_out.multiply(seen)).tocsr()
    held_out.eliminate_zeros()
    return Data(matrix("train", "side"), seen, held_out)


def popularity(data: Data, settings: Settings) -> Scores:
    counts = np.asarray(data.train.sum(0)).ravel()
    return lambda users: np.tile(counts, (len(users), 1))


def als(data: Data, settings: Settings) -> Scores:
    model = AlternatingLeastSquares(**settings, random_state=0, num_threads=1)
    model.fit(data.train, show_progress=False)
    return lambda users: model.user_factors[users] @ model.item_factors.T


def item_knn(data: Data, settings: Settings) -> Scores:
    model = CosineRecommender(**settings)
    model.fit(data.train, show_progress=False)
    return lambda users: (data.train[users] @ model.similarity).toarray()


def svd(data: Data, settings: Settings) -> Scores:
    """Of the matrix whose columns are divided by a power of the items' popularity."""
    scale = np.maximum(np.asarray(data.train.sum(0)).ravel(), 1) ** -settings["power"]
    matrix = data.train.multiply(scale[None]).tocsr().astype(float)
    left, values, right = svds(matrix, settings["factors"], random_state=0)
    return lambda users: (left[users] * values) @ right


def grids(dimension: int) -> dict[str, tuple[Callable[[Data, Settings], Scores], list[Settings]]]:
    regularizations = ((0.01, 1), (0.1, 10), (10, 10), (10, 40), (50, 40), (100, 40))
    als_grid = [
        {"factors": dimension, "regularization": regularization, "alpha": alpha, "iterations": 15}
        for regularization, alpha in regularizations
    ]
    return {
        "popularity": (popularity, [{}]),
        "als": (als, als_grid),
        "item_knn": (item_knn, [{"K": k} for k in (20, 50, 100, 200, 500)]),
        "svd": (svd, [{"factors": dimension, "power": power} for power in (0, 0.25, 0.5)]),
    }


def judged(scores: Scores, data: Data) -> dict[str, float]:
    """recall@K, NDCG@K and MRR (of the first item found in the whole list), means over users with pairs held out."""
    users = np.flatnonzero(np.diff(data.held_out.indptr))
    sums = np.zeros(3)
    for begin in range(0, len(users), BLOCK):
        block = users[begin : begin + BLOCK]
        found = np.array(scores(block), np.float32)
        found[data.seen[block].nonzero()] = -np.inf
        top = np.argpartition(-found, K, 1)[:, :K]
        for row, scores_of_row, first in zip(block, found, top, strict=True):
            true = data.held_out.indices[slice(*data.held_out.indptr[row : row + 2])]
            sums += judged_list(scores_of_row, first[np.argsort(-scores_of_row[first], kind="stable")], true)
    return dict(zip((f"recall@{K}", f"ndcg@{K}", "mrr"), (sums / len(users)).tolist(), strict=True))


def judged_list(scores: np.ndarray, top: np.ndarray, true: np.ndarray) -> np.ndarray:
    """`top`: the first K items; ties with the first item found count half."""
    hits = np.isin(top, true)
    discounts = 1 / np.log2(np.arange(2, K + 2))
    gain = hits @ discounts / discounts[: min(len(true), K)].sum()
    best = scores[true].max()
    place = 1 + (scores > best).sum() + ((scores == best).sum() - 1) / 2
    return np.array([hits.sum() / len(true), gain, 1 / place])


def methods(directory: Path, dimension: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each method with the settings that are best on validation, on the test pairs."""
    choose, final = (load(directory / phase) for phase in ("choose", "final"))
    for name, (fit, grid) in grids(dimension).items():
        tried = [(judged(fit(choose, settings), choose)[f"recall@{K}"], settings) for settings in grid]
        settings = max(tried, key=lambda each: each[0])[1]
        began = time.perf_counter()
        scores = fit(final, settings)
        seconds = time.perf_counter() - began
        yield name, {**judged(scores, final), "seconds": seconds, "settings": settings, "tried": tried}
        print(name, tried, file=sys.stderr, flush=True)


if __name__ == "__main__":
    print(json.dumps(dict(methods(Path(sys.argv[1]), int(sys.argv[2])))))
