"""First values of entities' vectors: the seam for what a training begins with."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from artifacts.formats.graph import Graph
from pbg_transra.backends.tail_bias import CONSTANT, constant_types
from pbg_transra.config import ModelConfig
from pbg_transra.seeds import seed_of


class Initial(Protocol):
    """Asked once for each partition that no checkpoint of the training holds yet, in any order, by any thread.

    Row i belongs to the entity at offset i of the partition; whoever takes values of another graph must find them by
    the entity's id (`artifacts.formats.graph.ids_path`), since offsets differ between graphs.
    """

    def fill(self, entity: str, partition: int, vectors: Tensor, sums: Tensor) -> None:
        """Fills vectors (n, D) and row sums of Adagrad (n,) in place; they follow from type and partition alone."""
        ...


@dataclass(frozen=True)
class RandomInitial:
    """Independent normal numbers that depend on seed, type and partition only; sums are zero.

    `types` numbers the types. PBG repeats one block of a million random numbers.
    With `tail_bias` a first component is 0, that of `constant` types CONSTANT.
    """

    types: tuple[str, ...]
    seed: int
    scale: float
    tail_bias: bool = False
    constant: frozenset[str] = frozenset()

    def fill(self, entity: str, partition: int, vectors: Tensor, sums: Tensor) -> None:
        seed = seed_of(self.seed, self.types.index(entity), partition)
        vectors.normal_(0.0, self.scale, generator=torch.Generator().manual_seed(seed))
        if self.tail_bias:
            vectors[:, 0] = CONSTANT if entity in self.constant else 0
        sums.zero_()


def random_initial(graph: Graph, config: ModelConfig) -> RandomInitial:
    types, constant = tuple(kind.name for kind in graph.entity_types), constant_types(graph.relations, config)
    return RandomInitial(types, config.seed, config.init_scale, config.tail_bias, constant)
