"""Drawing from long-tailed laws, millions of times."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]


def seeded(seed: int, *branch: int) -> np.random.Generator:
    """A generator of its own for every branch of a seed, so that no draw depends on who else has drawn."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=branch)))


def sigmoid(logit: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-logit)), dtype=np.float32)


def unit(vectors: Floats) -> Floats:
    """Rows of (N, K) scaled to length 1."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def normal(rng: np.random.Generator, *shape: int) -> Floats:
    return rng.standard_normal(shape, dtype=np.float32)


def uniform(rng: np.random.Generator, *shape: int) -> Floats:
    return rng.random(shape, dtype=np.float32)


def heavy_tail(rng: np.random.Generator, count: int, sigma: float) -> Floats:
    """Log-normal weights with mean 1."""
    return np.asarray(np.exp(sigma * normal(rng, count) - sigma**2 / 2), dtype=np.float32)


def exponential_seconds(rng: np.random.Generator, count: int, mean: float) -> Longs:
    return (rng.standard_exponential(count, dtype=np.float32) * mean).astype(np.int64)


def lognormal_seconds(rng: np.random.Generator, count: int, median: float, sigma: float) -> Longs:
    return np.asarray(np.exp(sigma * normal(rng, count)) * median, dtype=np.int64)


@dataclass(frozen=True)
class QuantileTable:
    """The inverse distribution function of one law a row, so that a draw is one gather.

    A law is held to a resolution of 1/S: what is rarer than that is drawn less or not at all.
    """

    slots: Ints  # (rows, S)

    def draw(self, rng: np.random.Generator, rows: Ints | int, shape: tuple[int, ...]) -> Ints:
        """Members drawn from the laws of `rows`, which broadcasts to `shape`."""
        return np.asarray(self.slots[rows, rng.integers(0, self.slots.shape[1], shape, dtype=np.int32)])


def quantile_row(weights: Floats, slots: int) -> Ints:
    """(S,) indices into `weights`, each as often as its share of the weight."""
    cumulative = np.cumsum(weights, dtype=np.float64)
    points = (np.arange(slots) + 0.5) / slots * cumulative[-1]
    return np.asarray(np.minimum(np.searchsorted(cumulative, points), len(weights) - 1), dtype=np.int32)


def grouped_table(groups: Ints, weights: Floats) -> QuantileTable:
    """A table with one row a group (every group from 0 to the largest has a member) over all members."""
    counts = np.bincount(groups)
    ends = np.cumsum(counts)
    members = np.argsort(groups, kind="stable").astype(np.int32)
    slots = 8 * int(counts.max())
    rows = [members[end - n : end] for n, end in zip(counts, ends, strict=True)]
    return QuantileTable(np.stack([row[quantile_row(weights[row], slots)] for row in rows]))


def single_table(weights: Floats) -> QuantileTable:
    return QuantileTable(quantile_row(weights, 8 * len(weights))[None, :])
