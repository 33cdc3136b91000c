"""What a training process does with its share of a bucket."""

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor

from pbg_transra.backends.divergence import bad_loss
from pbg_transra.backends.fused.batches import Batch
from pbg_transra.backends.fused.kernels import Kernels
from pbg_transra.backends.fused.layout import Buffers, Layout
from pbg_transra.backends.fused.objective import Objective
from pbg_transra.backends.fused.relations import Relations
from pbg_transra.backends.fused.step import gradients
from pbg_transra.backends.tables import Ends, Partition
from pbg_transra.backends.tail_bias import RelationTypes

KEPT_LAYOUTS = 8  # what full batches need, and the last ones of what is left of relations


class Worker:
    """One process's share of a segment: the partitions, and memory that batches use one after the other."""

    def __init__(
        self,
        types: Sequence[RelationTypes],
        objective: Objective,
        kernels: Kernels,
        relations: Relations,
        weights: Tensor,
        ends: Ends,
        lr: float,
        held: frozenset[str] = frozenset(),
    ) -> None:
        """`weights` (R,) of the relations' losses. `lr` of entities' vectors. `held`: types whose first component stays
        what it is (see `constant_types`)."""
        self.types = types
        self.objective = objective
        self.relations = relations
        self.weights = weights
        self.ends = ends
        self.lr = lr
        self.held = held
        self.kernels = kernels
        self._buffers: OrderedDict[Layout, Buffers] = OrderedDict()

    def train(self, batch: Batch) -> float:
        """Takes one step; returns the batch's loss."""
        heads, tails = self._sides(int(batch.relations[0]))
        buffers = self._buffers_of(batch.layout, heads.vectors)
        rows = self._gather(batch, heads, tails, buffers)
        spaces = self.relations.spaces(batch.relations)
        weights = self._weights(batch)
        found = gradients(self.kernels, self.objective, buffers, spaces, weights, batch.counts, batch.decays)
        loss = float(found.losses.sum())
        if not math.isfinite(loss):
            self._raise_diverged(batch, found.losses)
        self._step_rows(heads, tails, rows, found.vectors)
        self.relations.update_(batch.relations, found.spaces, self.kernels)
        return loss

    def _sides(self, relation: int) -> tuple[Partition, Partition]:
        types = self.types[relation]
        return self.ends.heads[types.lhs], self.ends.tails[types.rhs]

    def _buffers_of(self, layout: Layout, vectors: Tensor) -> Buffers:
        if layout not in self._buffers:
            self._buffers[layout] = Buffers(layout, vectors.shape[1], vectors.dtype)
            if len(self._buffers) > KEPT_LAYOUTS:
                self._buffers.popitem(last=False)
        self._buffers.move_to_end(layout)
        return self._buffers[layout]

    def _gather(self, batch: Batch, heads: Partition, tails: Partition, buffers: Buffers) -> Tensor:
        """Draws the uniform negatives and copies all vectors into `buffers`; returns their rows (N,)."""
        layout, drawn = batch.layout, (batch.layout.groups * batch.layout.uniform,)
        sides = []
        for positives, table in ((batch.heads, heads), (batch.tails, tails)):
            sides += [positives.flatten(), torch.randint(len(table.vectors), drawn)]
        rows = torch.cat(sides)
        self.kernels.gather(heads.vectors, rows[: layout.half], buffers.vectors[: layout.half])
        self.kernels.gather(tails.vectors, rows[layout.half :], buffers.vectors[layout.half :])
        return rows

    def _weights(self, batch: Batch) -> Tensor:
        """(G, n) factors on the edges' losses."""
        of_relations = self.weights[batch.relations].unsqueeze(1)
        if batch.weights is not None:
            return of_relations * batch.weights
        return of_relations.expand_as(batch.heads).contiguous()

    def _step_rows(self, heads: Partition, tails: Partition, rows: Tensor, by_vectors: Tensor) -> None:
        """Both sides at once where they are one table: the update is not linear, so each row may move only once."""
        step, half = self.kernels.step_rows_, len(rows) // 2
        for side, by_side in ((heads, by_vectors[:half]), (tails, by_vectors[half:])):
            if side.resident.entity in self.held:
                by_side[:, 0] = 0
        if heads is tails:
            step(heads.vectors, heads.sums, rows, by_vectors, self.lr)
            return
        step(heads.vectors, heads.sums, rows[:half], by_vectors[:half], self.lr)
        step(tails.vectors, tails.sums, rows[half:], by_vectors[half:], self.lr)

    def _raise_diverged(self, batch: Batch, losses: Tensor) -> None:
        group = int((~losses.isfinite()).nonzero()[0])
        relation = int(batch.relations.expand(len(losses))[group])
        raise bad_loss(self.types[relation].name, float(losses[group]))
