"""Categoricals and numerics as the model sees them, fitted on the training rows alone."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ranker.config.columns import Transform
from ranker.data.log.block import LogBlock
from ranker.data.log.schemas import is_list

VOCABULARY = 10_000  # distinct values of a categorical that are told apart: the most frequent ones
SAMPLE = 200_000  # training values that a numeric is fitted on, drawn uniformly
QUANTILES = 200
LARGEST = 1e15  # of a number that is learned from: squares and sums of larger ones leave what a float32 can hold

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class FittedCategorical:
    """The values that are told apart, in the order of their codes, which begin at 1."""

    name: str
    values: list[str]


@dataclass(frozen=True)
class FittedNumeric:
    """`mean` and `spread` are those of the shaped values; `knots` are the quantiles, none where there was no value."""

    name: str
    transform: Transform
    mean: float
    spread: float
    knots: list[float]


@dataclass(frozen=True)
class Fitted:
    """What transforms have learned from the training rows, as JSON can hold it."""

    categoricals: list[FittedCategorical]
    numerics: list[FittedNumeric]


class Categorical:
    """Values to codes: 0 for a missing, a rare and an unseen one. Its width is the number of codes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._counts: Counter[str] = Counter()
        self._values = pa.array([], pa.string())

    def see(self, block: LogBlock, train: NDArray[np.bool_]) -> None:
        values = _strings(block, self.name).filter(pa.array(train))
        for pair in pc.value_counts(values).to_pylist():
            if pair["values"] is not None:
                self._counts[pair["values"]] += pair["counts"]

    def fit(self) -> None:
        self._values = pa.array(sorted(value for value, _ in self._counts.most_common(VOCABULARY)), pa.string())

    @property
    def fitted(self) -> FittedCategorical:
        return FittedCategorical(self.name, self._values.to_pylist())

    @classmethod
    def of(cls, fitted: FittedCategorical) -> "Categorical":
        found = cls(fitted.name)
        found._values = pa.array(fitted.values, pa.string())
        return found

    @property
    def width(self) -> int:
        return len(self._values) + 1

    def encode(self, block: LogBlock) -> NDArray[np.int32]:
        """Codes (N,)."""
        found = pc.index_in(_strings(block, self.name), self._values).fill_null(-1)
        return (found.to_numpy(zero_copy_only=False) + 1).astype(np.int32)


class Numeric:
    """Numbers to about zero mean and unit spread; NaN stays, for the model to replace by a learned value."""

    def __init__(self, name: str, transform: Transform, seed: int) -> None:
        self.name, self.transform = name, transform
        self._rng = np.random.default_rng(seed)
        self._sample = np.empty(0)
        self._keys = np.empty(0)
        self._mean, self._spread = 0.0, 1.0
        self._knots = np.empty(0)
        self.clipped = 0

    def see(self, block: LogBlock, train: NDArray[np.bool_]) -> None:
        """Keeps the values with the smallest of random keys: a uniform sample of all that were seen."""
        values = np.clip(numbers(block, self.name)[train], -LARGEST, LARGEST)
        values = values[~np.isnan(values)]
        self._sample = np.concatenate([self._sample, values])
        self._keys = np.concatenate([self._keys, self._rng.random(len(values))])
        if len(self._keys) > SAMPLE:
            kept = np.argpartition(self._keys, SAMPLE)[:SAMPLE]
            self._sample, self._keys = self._sample[kept], self._keys[kept]

    def fit(self) -> None:
        if not len(self._sample):
            return
        self._knots = np.unique(np.quantile(self._sample, np.linspace(0, 1, QUANTILES + 1)))
        shaped = self._shape(self._sample)
        self._mean, self._spread = float(shaped.mean()), float(shaped.std()) or 1.0

    @property
    def fitted(self) -> FittedNumeric:
        return FittedNumeric(self.name, self.transform, self._mean, self._spread, self._knots.tolist())

    @classmethod
    def of(cls, fitted: FittedNumeric) -> "Numeric":
        found = cls(fitted.name, fitted.transform, seed=0)
        found._mean, found._spread, found._knots = fitted.mean, fitted.spread, np.array(fitted.knots)
        return found

    def encode(self, block: LogBlock) -> Floats:
        """Transformed values (N,); those beyond LARGEST are clipped, and counted in `clipped`."""
        values = numbers(block, self.name)
        self.clipped += int((np.abs(values) > LARGEST).sum())
        shaped = self._shape(np.clip(values, -LARGEST, LARGEST))
        return ((shaped - self._mean) / self._spread).astype(np.float32)

    def _shape(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.transform == "log":
            return np.sign(values) * np.log1p(np.abs(values))
        if self.transform == "quantile" and len(self._knots) > 1:
            return np.interp(values, self._knots, np.linspace(0, 1, len(self._knots)))
        return values


def numbers(block: LogBlock, name: str) -> NDArray[np.float64]:
    """A column's numbers, or its lists' lengths, (N,); NaN where missing. Raises DataError for anything else."""
    column = block.column(name)
    if is_list(column.type):
        column = pc.list_value_length(column).fill_null(0)
    cast = block.cast(name, column, pa.float64(), "numbers", safe=False)
    values: NDArray[np.float64] = cast.to_numpy(zero_copy_only=False)
    return np.where(np.isfinite(values), values, np.nan)


def _strings(block: LogBlock, name: str) -> pa.Array:
    return block.cast(name, block.column(name), pa.string(), "strings or integers")
