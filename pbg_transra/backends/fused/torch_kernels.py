"""The kernels in plain torch: what kernels.cpp compiles, and what runs where it could not be compiled."""

from collections import OrderedDict

import torch
from torch import Tensor

from pbg_transra.backends.adagrad import step_components_, step_rows_
from pbg_transra.backends.fused.batches import Batch
from pbg_transra.backends.fused.layout import Buffers, Layout
from pbg_transra.backends.fused.projection import Spaces
from pbg_transra.backends.fused.relations import Relations
from pbg_transra.backends.fused.setting import End, Setting
from pbg_transra.backends.fused.step import gradients

KEPT_LAYOUTS = 8  # what full batches need, and the last ones of what is left of relations


class TorchKernels:
    """Kernels (see there), operation by operation, and memory that batches use one after the other."""

    def __init__(self) -> None:
        self._buffers: OrderedDict[tuple[Layout, int, torch.dtype], Buffers] = OrderedDict()

    def train_(
        self, setting: Setting, batch: Batch, heads: End, tails: End, negatives: tuple[Tensor, Tensor]
    ) -> Tensor:
        edges, half = batch.padded(), batch.layout.half
        buffers = self._buffers_of(batch.layout, heads.vectors)
        rows = torch.cat([edges.heads.flatten(), negatives[0], edges.tails.flatten(), negatives[1]])
        torch.index_select(heads.vectors, 0, rows[:half], out=buffers.vectors[:half])
        torch.index_select(tails.vectors, 0, rows[half:], out=buffers.vectors[half:])
        relations = batch.distinct_relations()
        weights = setting.weights[relations].unsqueeze(1)
        weights = weights * edges.weights if edges.weights is not None else weights.expand_as(edges.heads).contiguous()
        spaces, counts = setting.relations.spaces(relations), torch.from_numpy(batch.lengths)
        found = gradients(setting.objective, buffers, spaces, weights, counts, edges.decays)
        if found.losses.isfinite().all():
            move_rows_(heads, tails, rows, found.vectors, setting.lr)
            move_relations_(setting.relations, relations, found.spaces)
        return found.losses

    def _buffers_of(self, layout: Layout, vectors: Tensor) -> Buffers:
        key = layout, vectors.shape[1], vectors.dtype
        if key not in self._buffers:
            self._buffers[key] = Buffers(*key)
            if len(self._buffers) > KEPT_LAYOUTS:
                self._buffers.popitem(last=False)
        self._buffers.move_to_end(key)
        return self._buffers[key]


def move_rows_(heads: End, tails: End, rows: Tensor, by_vectors: Tensor, lr: float) -> None:
    """Both sides at once where they are one table: the update is not linear, so each row may move only once."""
    half = len(rows) // 2
    for end, by_side in ((heads, by_vectors[:half]), (tails, by_vectors[half:])):
        if end.held:
            by_side[:, 0] = 0
    if heads.vectors.data_ptr() == tails.vectors.data_ptr():
        step_rows_(heads.vectors, heads.sums, *coalesced(rows, by_vectors), lr)
        return
    step_rows_(heads.vectors, heads.sums, *coalesced(rows[:half], by_vectors[:half]), lr)
    step_rows_(tails.vectors, tails.sums, *coalesced(rows[half:], by_vectors[half:]), lr)


def move_relations_(relations: Relations, numbers: Tensor, gradients: Spaces) -> None:
    """`numbers` (G,) may repeat."""
    if relations.fixed is not None:
        gradients.translations.masked_fill_(relations.fixed[numbers].unsqueeze(1), 0)
    moved = [(relations.translations, numbers, gradients.translations)]
    for stack, gradient in zip(relations.projections, gradients.projections, strict=bool(gradients.projections)):
        moved.append((stack, relations.rows[numbers], gradient.flatten(1)))
    for stack, rows, gradient in moved:
        for row, of_row in zip(*coalesced(rows, gradient), strict=True):
            step_components_(stack.values[row], stack.sums[row], of_row, relations.lr)


def coalesced(rows: Tensor, gradients: Tensor) -> tuple[Tensor, Tensor]:
    """Each row once, with the sum of its gradients."""
    distinct, position = torch.unique(rows, return_inverse=True)
    return distinct, gradients.new_zeros(len(distinct), gradients.shape[1]).index_add_(0, position, gradients)
