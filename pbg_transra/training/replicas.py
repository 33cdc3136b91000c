"""What every rank of a training has a copy of: parameters of relations, and types that are not split."""

from dataclasses import dataclass

import numpy as np
import torch

from artifacts.errors import DataError
from artifacts.formats.graph import Graph
from pbg_transra.backends.backend import Backend
from pbg_transra.ranks.shared_values import flat, unflat
from pbg_transra.ranks.wire import Floats
from pbg_transra.training.residency import Key, Residency, replicated

MOST_BYTES = 64 << 20  # of the types: each rank sends them all, and gets them all, in every exchange


def exchanged_bytes(graph: Graph, dimension: int) -> int:
    """Bytes of the types that are not split, vectors and Adagrad sums."""
    return sum(graph.entity_type(name).count for name, _ in replicated(graph)) * row_bytes(dimension)


def require_exchangeable(graph: Graph, dimension: int) -> None:
    """Raises DataError for types that are not split and too large to be exchanged, naming the largest."""
    if exchanged_bytes(graph, dimension) > MOST_BYTES:
        kind = max((graph.entity_type(name) for name, _ in replicated(graph)), key=lambda kind: kind.count)
        raise DataError(
            f"graph.entities.{kind.name}.partitions: 1, and its {kind.count:,} entities are too many for every rank of "
            f"model.machines to keep a copy of in step: at most {MOST_BYTES // row_bytes(dimension):,} in all types of "
            f"one partition with model.dimension {dimension}; expected none there, so that it is split as "
            f"graph.partitions says"
        )


def row_bytes(dimension: int) -> int:
    """Of an entity: its vector and its Adagrad sum."""
    return 4 * (dimension + 1)


@dataclass(frozen=True)
class Replicas:
    """A rank's copy, as one array: relations as `flat` has them, then the table (n, D + 1) of each type."""

    graph: Graph
    dimension: int
    residency: Residency
    backend: Backend

    @property
    def keys(self) -> list[Key]:
        """The partitions of the types."""
        return replicated(self.graph)

    def bring(self) -> None:
        """Makes the types resident, where they are not yet; nothing else gives them up."""
        self.residency.bring(self.keys)

    def read(self) -> Floats:
        tables = [self.residency.read(key).numpy().reshape(-1) for key in self.keys]
        return np.concatenate([flat(self.backend.relations()), *tables])

    def write(self, values: Floats) -> None:
        sizes = [self.graph.entity_type(name).counts[part] * (self.dimension + 1) for name, part in self.keys]
        relations, *tables = torch.from_numpy(values).split([len(values) - sum(sizes), *sizes])
        self.backend.load_relations(unflat(relations.numpy(), self.backend.relations()))
        for key, table in zip(self.keys, tables, strict=True):
            self.residency.write(key, table.view(-1, self.dimension + 1))
