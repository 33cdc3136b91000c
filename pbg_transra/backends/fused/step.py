"""One step's mathematics in torch: a batch's vectors and relations to the loss and all gradients in closed form."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pbg_transra.backends.fused.layout import Buffers, Layout
from pbg_transra.backends.fused.objective import Objective
from pbg_transra.backends.fused.products import multiply_, multiply_back_
from pbg_transra.backends.fused.projection import Spaces, normalise_, normalise_back_, project_, project_back_
from pbg_transra.backends.fused.scores import score_gradients_


@dataclass(frozen=True)
class Gradients:
    """losses: (G,) of the groups, double precision. vectors: (N, D), a row may occur twice. spaces: as given."""

    losses: Tensor
    vectors: Tensor
    spaces: Spaces


def gradients(
    objective: Objective,
    buffers: Buffers,
    spaces: Spaces,
    weights: Tensor,
    counts: Tensor,
    decays: Tensor | None = None,
) -> Gradients:
    """The loss of the batch whose vectors are in `buffers`, and its gradients; letters as in Layout.

    weights: (G, n) factors on the edges' losses and on their regularization. counts: (G,) edges of each group; what
    follows them is padding. decays: (2, G, n) further factors on the regularization of heads and of tails.
    The gradients by vectors lie in `buffers`, too, until the next step.
    """
    layout, vectors, projected = buffers.layout, buffers.vectors, buffers.projected
    project_(layout, spaces, vectors, projected)
    norms = normalise_(projected) if objective.similarity == "cos" else None
    multiply_(objective, buffers)
    losses = score_gradients_(objective, buffers, weights, chunk_counts(layout, counts))
    multiply_back_(objective, buffers)
    if norms is not None:
        normalise_back_(projected, norms, buffers.projected_gradients)
    by_spaces = project_back_(layout, spaces, vectors, buffers.projected_gradients, buffers.gradients)
    if objective.pull:
        losses += pull_(objective.pull, spaces, counts, by_spaces)
    if objective.regularization:
        losses += regularize_(objective, buffers, weights, counts, decays)
    return Gradients(losses, buffers.gradients, by_spaces)


def chunk_counts(layout: Layout, counts: Tensor) -> Tensor:
    """Edges of each chunk (G * chunks,), from those of each group (G,)."""
    if layout.chunks == 1:
        return counts
    chunks = torch.arange(layout.chunks, device=counts.device)
    return (counts.unsqueeze(1) - chunks * layout.size).clamp_(0, layout.size).flatten()


def pull_(pull: float, spaces: Spaces, counts: Tensor, by_spaces: Spaces) -> Tensor:
    """pull * edges * ||M - I||^2 over the projections: returned per group (G,), its gradients added to `by_spaces`."""
    losses = torch.zeros(len(counts), dtype=torch.double, device=counts.device)
    edges = counts if len(spaces.translations) == len(counts) else counts.sum(0, keepdim=True)
    for projection, by_projection in zip(spaces.projections, by_spaces.projections, strict=True):
        offset = projection - torch.eye(projection.shape[1], dtype=projection.dtype, device=projection.device)
        by_projection.addcmul_(offset, edges.view(-1, 1, 1).to(offset.dtype), value=2 * pull)
        losses += pull * counts * offset.square().sum((1, 2), dtype=torch.double)
    return losses


def regularize_(
    objective: Objective, buffers: Buffers, weights: Tensor, counts: Tensor, decays: Tensor | None
) -> Tensor:
    """regularization * weight * (decay |h|^2 + decay |t|^2) over the positives' entity vectors: N2 of Lacroix et al.
    (2018), but for the factors by degree (see training/regularization.py). A bias is not regularized.

    Returned per group (G,); its gradients are added to those in `buffers`.
    """
    layout = buffers.layout
    real = torch.arange(weights.shape[1], device=counts.device) < counts.unsqueeze(1)
    factors = (weights * real).unsqueeze(2)
    of_heads, of_tails = (factors, factors) if decays is None else (factors * decay.unsqueeze(2) for decay in decays)
    vectors, by_vectors = layout.sides(buffers.vectors), layout.sides(buffers.gradients)
    losses = torch.zeros(len(counts), dtype=torch.double, device=counts.device)
    for rows, by_rows, of_side in (
        (vectors.heads, by_vectors.heads, of_heads),
        (vectors.tails, by_vectors.tails, of_tails),
    ):
        weighted = rows * of_side
        if objective.tail_bias:
            weighted[..., 0] = 0
        losses += objective.regularization * torch.linalg.vecdot(weighted, rows).sum(1, dtype=torch.double)
        by_rows.add_(weighted, alpha=2 * objective.regularization)
    return losses
