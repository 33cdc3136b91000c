"""Two networks in one model: one sees all of a row, one neither vectors nor ids, and their answers are mixed.

Vectors and ids bring noise beside what they tell. Where they are worth little, the mixture is ahead of both branches;
where they are worth much, it leaves the tabular branch little.
"""

import torch
from torch import Tensor, nn

from ranker.config.sections import RankerConfig
from ranker.model.backbone import CrossNetwork
from ranker.model.heads import Heads

FIRST_SHARE = 0.5
SHARE_SPEED = 10.0  # a single weight moves so much faster than others under Adam's steps of one size

Logits = dict[str, Tensor]


class Branch(nn.Module):
    """(B, D) features of a row and (B, M) matches -> {task: (B,) logits}."""

    def __init__(self, width: int, matches: int, rates: dict[str, float], config: RankerConfig) -> None:
        super().__init__()
        self.cross = CrossNetwork(width, config.backbone.cross_layers, config.backbone.cross_rank)
        self.heads = Heads(width, matches, rates, config.heads, config.backbone)

    def forward(self, features: Tensor, matches: Tensor | None = None) -> Logits:
        found: Logits = self.heads(self.cross(features), matches)
        return found


class Mixture(nn.Module):
    """Moves the logits of the branch that sees less towards those of the one that sees more, by a share per task.

    The share is learned with the rest, from a loss of its own that no gradient of a branch comes from, and in the first
    epoch alone: every batch of it is new to both branches, so that the share is fitted on rows that they have not
    learned (stacking, Neural Networks 5 (2), 1992, with no rows set aside). Later it would go to ids that are known by
    heart. Nothing holds it in [0, 1]: where both branches err alike, going beyond one takes some of that away.
    """

    def __init__(self, tasks: tuple[str, ...]) -> None:
        super().__init__()
        first = FIRST_SHARE / SHARE_SPEED
        self.share = nn.ParameterDict({task: torch.full((), first) for task in tasks})

    def forward(self, more: Logits, less: Logits) -> Logits:
        found = {}
        for task, share in self.share.items():
            base = less[task].detach()
            found[task] = base + SHARE_SPEED * share * (more[task].detach() - base)
        return found
