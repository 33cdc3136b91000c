"""Sorted arrays of integers. (np.unique and np.isin hash or sort both sides, which is many times slower.)"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def unique(values: NDArray[Any]) -> NDArray[Any]:
    """Sorted distinct values (M,) of values (N,)."""
    values = np.sort(values)
    return values[np.concatenate([[True], values[1:] != values[:-1]])] if len(values) else values


def contains(values: NDArray[Any], asked: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether each of the asked (N,) is among the sorted values (M,)."""
    if not len(values):
        return np.zeros(len(asked), np.bool_)
    return values[np.minimum(np.searchsorted(values, asked), len(values) - 1)] == asked


def merged(values: NDArray[Any], more: NDArray[Any]) -> NDArray[Any]:
    """Sorted values (N + M,) of two sorted arrays (N,) and (M,), M being the smaller."""
    return np.insert(values, np.searchsorted(values, more), more)
