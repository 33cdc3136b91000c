"""`model.freeze`: known entities of some types, and known relations, that do not move in a training.

While they train, their Adagrad sums are so large that a step is nothing: every processor divides by them, and no kernel
has to know. What is saved are their first values, bit by bit, with the sums that they had; so a snapshot and the next
night find them as they were.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from artifacts.formats.graph import Graph
from pbg_transra.backends.backend import RelationState
from pbg_transra.config import ModelConfig
from pbg_transra.start.first_values import FirstValues, first_values

HELD = 1e38  # a sum whose root divides any step to nothing; its own and a squared gradient fit float32


@dataclass(frozen=True)
class Frozen:
    """What is held, of the first values; nothing by default."""

    first: FirstValues | None = None
    types: frozenset[str] = frozenset()
    relations: frozenset[int] = field(default_factory=frozenset)

    def hold_(self, entity: str, partition: int, sums: Tensor) -> None:
        """Holds the known entities of a partition that was loaded: changes sums (n,) in place."""
        if self.first is not None and entity in self.types:
            sums[self.first.known(entity, partition)] = HELD

    def restored(self, entity: str, partition: int, vectors: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
        """What is to be saved of vectors (n, D) and sums (n,)."""
        if self.first is None or entity not in self.types:
            return vectors, sums
        known, (first, before) = self.first.known(entity, partition), self.first.partition(entity, partition)
        return torch.where(known[:, None], first, vectors), torch.where(known, before, sums)

    def held_relations(self, state: RelationState) -> RelationState:
        """Relations as they are to train."""
        sums = state.sums or {key: torch.zeros_like(values) for key, values in state.parameters.items()}
        held = {key: torch.full_like(values, HELD) for key, values in sums.items() if key[0] in self.relations}
        return RelationState(state.parameters, {**sums, **held})

    def restored_relations(self, state: RelationState) -> RelationState:
        """Relations as they are to be saved."""
        if self.first is None or not self.relations:
            return state
        first = self.first.relations(state)
        return RelationState(
            self._of_first(state.parameters, first.parameters), self._of_first(state.sums or {}, first.sums or {})
        )

    def _of_first(
        self, now: Mapping[tuple[int, str], Tensor], first: Mapping[tuple[int, str], Tensor]
    ) -> dict[tuple[int, str], Tensor]:
        return {key: first[key] if key[0] in self.relations else values for key, values in now.items()}


NOTHING = Frozen()


def frozen(model_dir: Path, graph: Graph, config: ModelConfig) -> Frozen:
    """What a training into `model_dir` holds."""
    first = first_values(model_dir)
    if config.freeze is None or first is None:
        return NOTHING
    named = set(config.freeze.relations) & set(first.known_relations())
    relations = frozenset(index for index, relation in enumerate(graph.relations) if relation.name in named)
    return Frozen(first, frozenset(config.freeze.types), relations)
