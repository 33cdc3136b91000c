"""From the inner products of a batch to the loss and its gradients by them, for all similarities and losses."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from pbg_transra.backends.fused.layout import Buffers, Layout
from pbg_transra.backends.fused.objective import Objective

IGNORED = -1e9  # PBG's score of a pair that is not to be compared
CLAMP = 1e-30  # PBG's, on squared distances before their root


class SideGradients(NamedTuple):
    """Losses of one side, and their gradients by inner products, by own norms and by the others' norms."""

    losses: Tensor  # (C, k)
    products: Tensor  # (C, k, k + U)
    own: Tensor  # (C, k)
    others: Tensor  # (C, k + U)


def score_gradients_(objective: Objective, buffers: Buffers, weights: Tensor, counts: Tensor) -> Tensor:
    """Turns the inner products in `buffers` into the loss's gradients by them, in place; returns the losses (G,).

    Distances also read `norms` and write `norm_gradients`.
    """
    layout, k = buffers.layout, buffers.layout.size
    real = torch.arange(k, device=counts.device) < counts.unsqueeze(1)
    weights = weights.view(real.shape) * real
    heads, head_negatives, tails, tail_negatives = layout.sides(buffers.norms)
    heads, tails, apart = layout.chunked(heads), layout.chunked(tails), buffers.apart.view(real.shape)
    head_negatives, tail_negatives = (of_chunks(layout, norms) for norms in (head_negatives, tail_negatives))

    products = torch.cat([buffers.within, layout.chunked(buffers.right)], 2)
    right = side_gradients(objective, products, heads, torch.cat([tails, tail_negatives], 1), apart, real, weights)
    others = torch.cat([heads, head_negatives], 1)
    if objective.head_weight:
        products = torch.cat([buffers.within.mT, layout.chunked(buffers.left)], 2)
        weights = weights * objective.head_weight
        left = side_gradients(objective, products, tails, others, apart, real, weights)
    else:
        nothing = torch.zeros_like(products), torch.zeros_like(tails), torch.zeros_like(others)
        left = SideGradients(torch.zeros_like(right.losses), *nothing)

    torch.add(right.products[..., :k], left.products[..., :k].mT, out=buffers.within)
    layout.chunked(buffers.right).copy_(right.products[..., k:])
    layout.chunked(buffers.left).copy_(left.products[..., k:])
    by_heads, by_head_negatives, by_tails, by_tail_negatives = layout.sides(buffers.norm_gradients)
    torch.add(right.own, left.others[:, :k], out=layout.chunked(by_heads))
    torch.add(left.own, right.others[:, :k], out=layout.chunked(by_tails))
    for target, source in ((by_head_negatives, left), (by_tail_negatives, right)):
        target.copy_(source.others[:, k:].view(layout.groups, layout.chunks, -1).sum(1))
    return (right.losses + left.losses).double().view(layout.groups, -1).sum(1)


def of_chunks(layout: Layout, of_groups: Tensor) -> Tensor:
    """(G, U) as (G * chunks, U): a group's for each of its chunks."""
    return of_groups.unsqueeze(1).expand(-1, layout.chunks, -1).reshape(layout.groups * layout.chunks, layout.uniform)


def side_gradients(
    objective: Objective, products: Tensor, own: Tensor, others: Tensor, apart: Tensor, real: Tensor, weights: Tensor
) -> SideGradients:
    """Loss and gradients of C chunks whose positives are the diagonal of `products` (C, k, k + U)."""
    k, distances = products.shape[1], objective.similarity in ("l2", "squared_l2")
    squared = squared_distances(products, own, others, apart) if distances else products
    scores = similarity(objective, products, squared)
    positives = scores.diagonal(dim1=1, dim2=2).clone()
    scores[..., :k].masked_fill_(~real.unsqueeze(1) | torch.eye(k, dtype=torch.bool, device=real.device), IGNORED)
    losses, by_positives, by_scores = LOSSES[objective.loss](objective, positives, scores)
    by_scores.diagonal(dim1=1, dim2=2).copy_(by_positives)
    by_scores *= weights.unsqueeze(2)
    if not distances:
        by_products = by_scores.mul_(objective.scale)
        return SideGradients(losses * weights, by_products, torch.zeros_like(own), torch.zeros_like(others))
    by_squared = by_scores * distance_slope(objective, squared)
    return SideGradients(losses * weights, -2 * by_squared, by_squared.sum(2), by_squared.sum(1))


def squared_distances(products: Tensor, own: Tensor, others: Tensor, apart: Tensor) -> Tensor:
    """(C, k, k + U), from inner products of that shape and squared lengths; the positives' are given."""
    squared = own.unsqueeze(2) + others.unsqueeze(1) - 2 * products
    squared.diagonal(dim1=1, dim2=2).copy_(apart)
    return squared


def similarity(objective: Objective, products: Tensor, squared: Tensor) -> Tensor:
    """Scores (C, k, k + U) from inner products and squared distances of the same shape."""
    if objective.similarity == "squared_l2":
        return -objective.scale * squared
    if objective.similarity == "l2":
        return -objective.scale * squared.clamp_min(CLAMP).sqrt()
    return objective.scale * products


def distance_slope(objective: Objective, squared: Tensor) -> Tensor:
    """The derivative of the score by the squared distance."""
    if objective.similarity == "squared_l2":
        return torch.full_like(squared, -objective.scale)
    return torch.where(squared > CLAMP, -objective.scale / 2 * squared.clamp_min(CLAMP).rsqrt(), 0)


def softmax(objective: Objective, positives: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cross entropy of the positive among its negatives: losses, gradients by positives and by negatives."""
    total = torch.logaddexp(positives, negatives.logsumexp(2))
    return total - positives, (positives - total).exp() - 1, (negatives - total.unsqueeze(2)).exp_()


def logistic(objective: Objective, positives: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Binary cross entropy; the negatives of a positive weigh as much as it does."""
    share = 1 / objective.negatives
    losses = functional.softplus(-positives) + share * functional.softplus(negatives).sum(2)
    return losses, -torch.sigmoid(-positives), share * torch.sigmoid(negatives)


def ranking(objective: Objective, positives: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hinges: each negative that comes within the margin of its positive."""
    hinges = negatives + (objective.margin - positives).unsqueeze(2)
    within = (hinges >= 0).to(hinges.dtype)
    return hinges.clamp_min(0).sum(2), -within.sum(2), within


LOSSES = {"softmax": softmax, "logistic": logistic, "ranking": ranking}
