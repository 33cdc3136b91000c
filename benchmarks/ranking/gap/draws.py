"""Gaps of growing size between the vectors that a graph learned and those that a ranker is given."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from artifacts.embeddings import Embeddings
from ranker.config.arms import ArmConfig
from ranker.config.sections import RankerConfig
from ranker.data.batch import Batch
from ranker.data.ids.slots import Layout
from ranker.data.records import Summary
from ranker.model.ranker_model import RankerModel

Array = NDArray[Any]
DEGREE = np.pi / 180


def rotated(vectors: Array, size: float, rng: np.random.Generator) -> Array:
    """(N, D) by `size` degrees in each of D // 2 random planes that are orthogonal to each other."""
    dimension = vectors.shape[1]
    axes = np.linalg.qr(rng.standard_normal((dimension, dimension)))[0]
    turn = np.eye(dimension)
    for first in range(0, dimension - 1, 2):
        sine, cosine = np.sin(size * DEGREE), np.cos(size * DEGREE)
        turn[first : first + 2, first : first + 2] = [[cosine, -sine], [sine, cosine]]
    return vectors @ (axes @ turn @ axes.T)


def rescaled(vectors: Array, size: float, rng: np.random.Generator) -> Array:
    """(N, D), each vector by a factor of its own whose logarithm has a standard deviation of `size`."""
    return vectors * np.exp(size * rng.standard_normal((len(vectors), 1)))


def shifted(vectors: Array, size: float, rng: np.random.Generator) -> Array:
    """(N, D), all by one vector that is `size` times as long as a typical one."""
    step = rng.standard_normal(vectors.shape[1])
    return vectors + size * _length(vectors) * step / np.linalg.norm(step)


def noised(vectors: Array, size: float, rng: np.random.Generator) -> Array:
    """(N, D), each with noise that is `size` times as long as a typical vector."""
    return vectors + size * _length(vectors) * rng.standard_normal(vectors.shape) / np.sqrt(vectors.shape[1])


def _length(vectors: Array) -> float:
    return float(np.sqrt(np.square(vectors).sum(axis=1).mean()))


@dataclass(frozen=True)
class Kind:
    """A way in which vectors go wrong: the sizes that are tried, and what they count.

    `draw` moves vectors; without one, entities are missing or the graph is old.
    """

    sizes: tuple[float, ...]
    unit: str
    draw: Callable[[Array, float, np.random.Generator], Array] | None = None


KINDS = {
    "rotated": Kind((30, 60, 90), "degrees, each entity type in planes of its own", rotated),
    "rescaled": Kind((0.5, 1, 2), "standard deviation of the logarithm of each entity's factor", rescaled),
    "shifted": Kind((0.5, 1, 4), "lengths of a vector, each entity type in a direction of its own", shifted),
    "noised": Kind((0.5, 1, 2), "lengths of a vector, each entity by itself", noised),
    "missing": Kind((0.25, 0.5, 0.75), "share of entities without a vector"),
    "old": Kind((7, 14), "days by which the graph's window ends earlier"),
}


@dataclass(frozen=True)
class Gap:
    """One kind at one size; size 0 is no gap."""

    kind: str
    size: float

    @property
    def days(self) -> int:
        return int(self.size) if self.kind == "old" else 0

    @property
    def share_missing(self) -> float:
        return self.size if self.kind == "missing" else 0.0


class DrawnExport(Embeddings):
    """An export whose vectors have moved; relations and degrees are what they were."""

    def __init__(self, path: Path, gap: Gap, types: list[str], seed: int) -> None:
        super().__init__(path)
        draw, self._drawn = KINDS[gap.kind].draw, dict[str, Array]()
        for index, name in enumerate(types if draw and gap.size else ()):
            assert draw is not None
            vectors, trained = np.array(super().vectors(name), np.float32), self.trained(name)
            vectors[trained] = draw(vectors[trained], gap.size, np.random.default_rng([seed, index]))
            self._drawn[name] = vectors

    def vectors(self, entity_type: str) -> Array:
        return self._drawn[entity_type] if entity_type in self._drawn else super().vectors(entity_type)


class GappedModel(RankerModel):
    """A model to which a share of the entities is unknown, in training as afterwards."""

    def __init__(
        self, config: RankerConfig, arm: ArmConfig, summary: Summary, export: Embeddings | None, share: float, seed: int
    ) -> None:
        super().__init__(config, arm, summary, export)
        self._slots = Layout.of(config).graph()
        self._lost: dict[str, Tensor] = {}
        for index, name in enumerate(entity_types(config) if export is not None and share else ()):
            assert export is not None
            lost = np.random.default_rng([seed, index]).random(export.count(name)) < share
            self._lost[name] = torch.from_numpy(lost)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return super().forward(replace(batch, rows=self._left(batch.rows)) if self._lost else batch)

    def _left(self, rows: Tensor) -> Tensor:
        """Rows (B, T) of the export, -1 for those that are lost."""
        left = rows.clone()
        for slot in self._slots:
            part = left[:, slot.tokens]
            left[:, slot.tokens] = torch.where(self._lost[str(slot.type)][part.clamp(min=0)], -1, part)
        return left


def entity_types(config: RankerConfig) -> list[str]:
    """Those that slots have, in order."""
    return sorted({str(slot.type) for slot in Layout.of(config).graph()})
