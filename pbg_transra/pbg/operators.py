"""TransRA's operators, registered beside PyTorch-BigGraph's own.

With projection M_r and translation r a triple scores (after TransR, arXiv 1412.7574 / AAAI 2015, and our reading of
arXiv 2508.02609)

    s(h, r, t) = scale * similarity(M_r h + r, M_r t)

`forward` is the right view, the only one that stock PBG applies; `left` is the left view, which TransRAEmbedder adds.
Projections are stored flat (D * D): PBG 1.0.0's TSV export fails on two-dimensional parameters.
"""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torchbiggraph.model import OPERATORS, AbstractOperator

from artifacts.formats.graph import Relation
from pbg_transra.config import ModelConfig


class TwoSidedOperator(AbstractOperator):
    """An operator that moves both sides of a relation into its space. Shapes (..., D) -> (..., D)."""

    projection_names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.translation = nn.Parameter(torch.zeros(dim))
        for name in self.projection_names:
            self.register_parameter(name, nn.Parameter(torch.eye(dim).flatten()))

    @abstractmethod
    def left(self, vectors: Tensor) -> Tensor:
        """The left view, M h + r."""

    def projections(self) -> list[Tensor]:
        """The projections, each (D, D): views of the flat parameters."""
        return [getattr(self, name).view(self.dim, self.dim) for name in self.projection_names]


@OPERATORS.register_as("transra_anchor")
class AnchorOperator(TwoSidedOperator):
    """The identity as projection: the relation lives in the space of the entity table itself. TransE, too."""

    def left(self, vectors: Tensor) -> Tensor:
        return vectors + self.translation

    def forward(self, embeddings: Tensor) -> Tensor:
        return embeddings


@OPERATORS.register_as("transra")
class TiedOperator(TwoSidedOperator):
    """One projection for both sides: they share one frame, so all types stay comparable in the anchor space."""

    projection_names = ("projection",)
    projection: nn.Parameter

    def left(self, vectors: Tensor) -> Tensor:
        return vectors @ self.projection.view(self.dim, self.dim).T + self.translation

    def forward(self, embeddings: Tensor) -> Tensor:
        return embeddings @ self.projection.view(self.dim, self.dim).T


@OPERATORS.register_as("transra_untied")
class UntiedOperator(TwoSidedOperator):
    """A projection per side: freer, but a type that occurs in no anchor relation may rotate away (see `pull`)."""

    projection_names = ("left_projection", "right_projection")
    left_projection: nn.Parameter
    right_projection: nn.Parameter

    def left(self, vectors: Tensor) -> Tensor:
        return vectors @ self.left_projection.view(self.dim, self.dim).T + self.translation

    def forward(self, embeddings: Tensor) -> Tensor:
        return embeddings @ self.right_projection.view(self.dim, self.dim).T


def operator_name(config: ModelConfig, relation: Relation) -> str:
    """Returns the name under which PBG knows the operator of a relation."""
    if config.operator == "transe" or relation.name in config.anchors:
        return "transra_anchor"
    return "transra" if config.operator == "transr" else config.operator
