"""PyTorch-BigGraph's losses, and the same with a weight per edge, which PBG does not have."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchbiggraph.losses import LOSS_FUNCTIONS

from pbg_transra.config import ModelConfig

Loss = Callable[[Tensor, Tensor], Tensor]


class EdgeLoss(nn.Module):
    """Sum over B edges of what their positive scores (B,) and negative scores (B, N) cost, times their weights."""

    def __init__(self, whole: nn.Module, each: Loss) -> None:
        """`whole` sums over a batch, `each` gives the edges' own losses (B,); their sum is the same."""
        super().__init__()
        self.whole = whole
        self.each = each

    def forward(self, positives: Tensor, negatives: Tensor, weights: Tensor | None = None) -> Tensor:
        """A scalar; `weights` (B,), or None where all are 1."""
        loss: Tensor
        if weights is None:
            loss = self.whole(positives, negatives)
        else:
            loss = self.each(positives, negatives) @ weights.to(positives.dtype)
        return loss


class Ranking:
    """Hinges: each negative that comes within the margin of its positive."""

    def __init__(self, margin: float) -> None:
        self.margin = margin

    def __call__(self, positives: Tensor, negatives: Tensor) -> Tensor:
        return (negatives - positives.unsqueeze(1) + self.margin).clamp_min(0).sum(1)


def softmax(positives: Tensor, negatives: Tensor) -> Tensor:
    """Cross entropy of the positive among its negatives."""
    scores = torch.cat([positives.unsqueeze(1), negatives.logsumexp(1, keepdim=True)], 1)
    return functional.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.long), reduction="none")


def logistic(positives: Tensor, negatives: Tensor) -> Tensor:
    """Binary cross entropy; the negatives of a positive weigh as much as it does."""
    return functional.softplus(-positives) + functional.softplus(negatives).mean(1)


def make_loss(config: ModelConfig) -> EdgeLoss:
    kind = LOSS_FUNCTIONS.get_class(config.loss)
    if config.loss == "ranking":
        return EdgeLoss(kind(config.margin), Ranking(config.margin))
    return EdgeLoss(kind(), {"softmax": softmax, "logistic": logistic}[config.loss])
