"""What a training process does with its share of a bucket."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pbg_transra.backends.divergence import bad_loss
from pbg_transra.backends.fused.batches import Batch
from pbg_transra.backends.fused.kernels import Kernels
from pbg_transra.backends.fused.setting import End, Setting
from pbg_transra.backends.tables import Ends, Partition
from pbg_transra.backends.tail_bias import RelationTypes


class Worker:
    """One process's share of a segment, batch by batch."""

    def __init__(
        self,
        types: Sequence[RelationTypes],
        kernels: Kernels,
        setting: Setting,
        ends: Ends,
        held: frozenset[str] = frozenset(),
    ) -> None:
        """`held`: types whose first component stays what it is (see `constant_types`)."""
        self._types, self._kernels, self._setting = types, kernels, setting
        self._heads, self._tails = (
            {name: end_of(partition, held) for name, partition in side.items()} for side in (ends.heads, ends.tails)
        )

    def train(self, batch: Batch) -> float:
        """Takes one step, with uniform negatives that it draws; returns the batch's loss. Raises Diverged."""
        types, drawn = self._types[batch.relations[0]], (batch.layout.groups * batch.layout.uniform,)
        heads, tails = self._heads[types.lhs], self._tails[types.rhs]
        negatives = torch.randint(heads.vectors.shape[0], drawn), torch.randint(tails.vectors.shape[0], drawn)
        losses = self._kernels.train_(self._setting, batch, heads, tails, negatives)
        loss = float(losses.numpy().sum())
        if not math.isfinite(loss):
            self._raise_diverged(batch, losses)
        return loss

    def _raise_diverged(self, batch: Batch, losses: Tensor) -> None:
        group = int((~losses.isfinite()).nonzero()[0])
        raise bad_loss(self._types[batch.relations[group]].name, float(losses[group]))


def end_of(partition: Partition, held: frozenset[str]) -> End:
    return End(partition.vectors, partition.sums, partition.resident.entity in held)
