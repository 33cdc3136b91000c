"""One step's mathematics: a batch, its vectors and its relations to the loss and all gradients in closed form."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pbg_transra.fused.kernels import Kernels
from pbg_transra.fused.layout import Buffers
from pbg_transra.fused.objective import Objective
from pbg_transra.fused.projection import Spaces, normalise_, normalise_back_, project_, project_back_


@dataclass(frozen=True)
class Gradients:
    """losses: (G,) of the groups, double precision. vectors: (N, D), a row may occur twice. spaces: as given."""

    losses: Tensor
    vectors: Tensor
    spaces: Spaces


def gradients(
    kernels: Kernels, objective: Objective, buffers: Buffers, spaces: Spaces, weights: Tensor, counts: Tensor
) -> Gradients:
    """The loss of the batch whose vectors are in `buffers`, and its gradients; letters as in Layout.

    weights: (G, n) factors on the edges' losses. counts: (G,) edges of each group; what follows them is padding. The
    gradients lie in `buffers`, too, until the next step.
    """
    layout, vectors, projected = buffers.layout, buffers.vectors, buffers.projected
    by_projected = buffers.projected_gradients
    project_(layout, spaces, vectors, projected)
    norms = normalise_(projected) if objective.similarity == "cos" else None
    multiply_(objective, buffers)
    chunk_counts = (counts.unsqueeze(1) - torch.arange(layout.chunks) * layout.size).clamp_(0, layout.size).flatten()
    losses = kernels.score_gradients_(objective, buffers, weights, chunk_counts)
    multiply_back_(objective, buffers)
    if norms is not None:
        normalise_back_(projected, norms, by_projected)
    by_spaces = project_back_(layout, spaces, vectors, by_projected, buffers.gradients)
    if objective.pull:
        losses += pull_(objective.pull, spaces, counts, by_spaces)
    return Gradients(losses, buffers.gradients, by_spaces)


def multiply_(objective: Objective, buffers: Buffers) -> None:
    """The inner products of positives with their negatives. Those within a chunk serve both sides."""
    layout = buffers.layout
    heads, head_negatives, tails, tail_negatives = layout.sides(buffers.projected)
    torch.bmm(layout.chunked(heads), layout.chunked(tails).mT, out=buffers.within)
    if layout.uniform:
        torch.bmm(heads, tail_negatives.mT, out=buffers.right)
        torch.bmm(tails, head_negatives.mT, out=buffers.left)
    if objective.similarity in ("l2", "squared_l2"):
        torch.sum(buffers.projected.square(), 1, out=buffers.norms)


def multiply_back_(objective: Objective, buffers: Buffers) -> None:
    """Gradients by inner products (and squared norms) become gradients by the projected vectors."""
    layout = buffers.layout
    heads, head_negatives, tails, tail_negatives = layout.sides(buffers.projected)
    by_heads, by_head_negatives, by_tails, by_tail_negatives = layout.sides(buffers.projected_gradients)
    torch.bmm(buffers.within, layout.chunked(tails), out=layout.chunked(by_heads))
    torch.bmm(buffers.within.mT, layout.chunked(heads), out=layout.chunked(by_tails))
    if layout.uniform:
        by_heads.baddbmm_(buffers.right, tail_negatives)
        by_tails.baddbmm_(buffers.left, head_negatives)
        torch.bmm(buffers.right.mT, heads, out=by_tail_negatives)
        torch.bmm(buffers.left.mT, tails, out=by_head_negatives)
    if objective.similarity in ("l2", "squared_l2"):
        buffers.projected_gradients.addcmul_(buffers.projected, buffers.norm_gradients.unsqueeze(1), value=2)


def pull_(pull: float, spaces: Spaces, counts: Tensor, by_spaces: Spaces) -> Tensor:
    """pull * edges * ||M - I||^2 over the projections: returned per group (G,), its gradients added to `by_spaces`."""
    losses = torch.zeros(len(counts), dtype=torch.double)
    edges = counts if len(spaces.translations) == len(counts) else counts.sum(0, keepdim=True)
    for projection, by_projection in zip(spaces.projections, by_spaces.projections, strict=True):
        offset = projection - torch.eye(projection.shape[1], dtype=projection.dtype)
        by_projection.addcmul_(offset, edges.view(-1, 1, 1).to(offset.dtype), value=2 * pull)
        losses += pull * counts * offset.square().sum((1, 2), dtype=torch.double)
    return losses
