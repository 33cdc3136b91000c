"""From the entity tables' space into those of the relations, and the gradients back."""

from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from pbg_transra.backends.fused.layout import Layout

SMALLEST_NORM = 1e-12  # as in similarity.SafeCosine


@dataclass(frozen=True)
class Spaces:
    """The relations of a batch, G of them or one for all of its groups.

    projections: none (anchors), one for both sides or one per side, each (G or 1, D, D). translations: (G or 1, D).
    """

    projections: tuple[Tensor, ...]
    translations: Tensor

    @property
    def of_sides(self) -> tuple[int, int]:
        """Which projection is that of heads, and which that of tails."""
        return 0, len(self.projections) - 1


def regions(layout: Layout, rows: Tensor, relations: int) -> tuple[list[Tensor], list[Tensor]]:
    """Of heads and of tails: the pieces of rows (N, D) on which one batched product acts, each (relations, ..., D)."""
    if relations == 1:  # a whole side is one product
        return [rows[: layout.half].unsqueeze(0)], [rows[layout.half :].unsqueeze(0)]
    heads, head_negatives, tails, tail_negatives = layout.sides(rows)
    return [heads, head_negatives], [tails, tail_negatives]


def project_(layout: Layout, spaces: Spaces, vectors: Tensor, projected: Tensor) -> None:
    """Writes M h + r of heads and M t of tails into `projected`; both are (N, D)."""
    relations = len(spaces.translations)
    sources, targets = regions(layout, vectors, relations), regions(layout, projected, relations)
    for side, number in enumerate(spaces.of_sides):
        for source, target in zip(sources[side], targets[side], strict=True):
            if spaces.projections:
                torch.bmm(source, spaces.projections[number].mT, out=target)
            else:
                target.copy_(source)
    for target in targets[0]:
        target.add_(spaces.translations.unsqueeze(1))


def project_back_(layout: Layout, spaces: Spaces, vectors: Tensor, by_projected: Tensor, by_vectors: Tensor) -> Spaces:
    """Gradients by projected vectors (N, D) become gradients by vectors, written into `by_vectors`.

    Returns the gradients by the spaces.
    """
    relations = len(spaces.translations)
    sources, gradients = regions(layout, vectors, relations), regions(layout, by_projected, relations)
    targets = regions(layout, by_vectors, relations)
    by_projections = tuple(torch.zeros_like(projection) for projection in spaces.projections)
    for side, number in enumerate(spaces.of_sides):
        for source, gradient, target in zip(sources[side], gradients[side], targets[side], strict=True):
            if spaces.projections:
                by_projections[number].baddbmm_(gradient.mT, source)
                torch.bmm(gradient, spaces.projections[number], out=target)
            else:
                target.copy_(gradient)
    return Spaces(by_projections, reduce(torch.add, (gradient.sum(1) for gradient in gradients[0])))


def normalise_(vectors: Tensor) -> Tensor:
    """Scales rows (N, D) to length one, a zero row stays; returns the divisors (N, 1)."""
    norms: Tensor = torch.linalg.vector_norm(vectors, dim=1, keepdim=True).clamp_min_(SMALLEST_NORM)
    vectors.div_(norms)
    return norms


def normalise_back_(unit: Tensor, norms: Tensor, gradients: Tensor) -> None:
    """Gradients by unit vectors (N, D) become gradients by the vectors that they were, in place."""
    along = (unit * gradients).sum(1, keepdim=True)
    along.masked_fill_(norms <= SMALLEST_NORM, 0)  # there the divisor is constant
    gradients.addcmul_(unit, along, value=-1).div_(norms)
