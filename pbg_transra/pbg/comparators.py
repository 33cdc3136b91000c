"""Similarities of projected vectors: PyTorch-BigGraph's comparators times a scale, which PBG does not have."""

import torch
from torch import Tensor
from torchbiggraph.model import COMPARATORS, AbstractComparator, CosComparator

from pbg_transra.config import ModelConfig

SMALLEST_NORM = 1e-12


class ScaledComparator(AbstractComparator):
    """scale * similarity. Without a scale a softmax over cosines, which lie in [-1, 1], is nearly flat.

    Shapes as in PBG's AbstractComparator: (C, P, D) positives and (C, N, D) negatives to (C, P) and (C, P, N) scores.
    """

    def __init__(self, base: AbstractComparator, scale: float) -> None:
        super().__init__()
        self.base = base
        self.scale = scale

    def prepare(self, embs: Tensor) -> Tensor:
        return self.base.prepare(embs)

    def forward(self, lhs_pos: Tensor, rhs_pos: Tensor, lhs_neg: Tensor, rhs_neg: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.scale * scores for scores in self.base(lhs_pos, rhs_pos, lhs_neg, rhs_neg))


class SafeCosine(CosComparator):
    """PBG's cosine, but a zero vector stays zero where PBG makes NaN of it."""

    def prepare(self, embs: Tensor) -> Tensor:
        norm: Tensor = torch.linalg.vector_norm(embs, dim=-1, keepdim=True)
        return embs / norm.clamp_min(SMALLEST_NORM)


def make_comparator(config: ModelConfig) -> ScaledComparator:
    kind = SafeCosine if config.similarity == "cos" else COMPARATORS.get_class(config.similarity)
    return ScaledComparator(kind(), config.scale)
