"""The inner products of positives with their negatives, and the gradients back through them."""

import torch

from pbg_transra.backends.fused.layout import Buffers
from pbg_transra.backends.fused.objective import Objective


def multiply_(objective: Objective, buffers: Buffers) -> None:
    """The inner products of positives with their negatives. Those within a chunk serve both sides."""
    layout = buffers.layout
    heads, head_negatives, tails, tail_negatives = layout.sides(buffers.projected)
    torch.bmm(layout.chunked(heads), layout.chunked(tails).mT, out=buffers.within)
    if layout.uniform:
        torch.bmm(heads, tail_negatives.mT, out=buffers.right)
        if objective.head_weight:
            torch.bmm(tails, head_negatives.mT, out=buffers.left)
    if objective.similarity in ("l2", "squared_l2"):
        torch.sum(buffers.projected.square(), 1, out=buffers.norms)
        torch.sum((heads - tails).flatten(0, 1).square(), 1, out=buffers.apart)


def multiply_back_(objective: Objective, buffers: Buffers) -> None:
    """Gradients by inner products (and squared norms) become gradients by the projected vectors."""
    layout = buffers.layout
    heads, head_negatives, tails, tail_negatives = layout.sides(buffers.projected)
    by_heads, by_head_negatives, by_tails, by_tail_negatives = layout.sides(buffers.projected_gradients)
    torch.bmm(buffers.within, layout.chunked(tails), out=layout.chunked(by_heads))
    torch.bmm(buffers.within.mT, layout.chunked(heads), out=layout.chunked(by_tails))
    if layout.uniform:
        by_heads.baddbmm_(buffers.right, tail_negatives)
        torch.bmm(buffers.right.mT, heads, out=by_tail_negatives)
        if objective.head_weight:
            by_tails.baddbmm_(buffers.left, head_negatives)
            torch.bmm(buffers.left.mT, tails, out=by_head_negatives)
        else:
            by_head_negatives.zero_()
    if objective.similarity in ("l2", "squared_l2"):
        buffers.projected_gradients.addcmul_(buffers.projected, buffers.norm_gradients.unsqueeze(1), value=2)
