"""Each listed event held against the ad, with its place and its age, and then all of them together."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ranker.data.log.lists import AGE_BUCKETS

UNITS = 16
SHARP = 4.0  # largest first slope in a cosine: thresholds lie anywhere between 0 and the most alike
BIAS_SPEED = 5.0  # these few numbers move so much faster than others under Adam's steps of one size


class ListMatches(nn.Module):
    """Cosines of L listed events with J vectors of the ad, (B, J, L) -> (B, UNITS).

    Every event passes one layer of units, whose thresholds its place and its age move; what is left is summed over the
    list. So a unit can count, say, how many events of the last days were very like the ad's item: boosting finds such
    conjunctions of a cosine and an age, the pooled vector of an attention does not hold them.
    """

    def __init__(self, ads: int, length: int, timed: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(SHARP * torch.rand(UNITS, ads))
        self.bias = nn.Parameter(-SHARP * torch.rand(UNITS))
        self.places = nn.Parameter(torch.zeros(length, UNITS))
        self.ages = nn.Parameter(torch.zeros(1 + AGE_BUCKETS, UNITS)) if timed else None

    def forward(self, cosines: Tensor, known: Tensor, ages: Tensor | None) -> Tensor:
        """`known` (B, L) and, for a list with times, `ages` (B, L) in buckets; L may be less than the list's cap."""
        by_place, by_age = self.thresholds()
        moved = by_place[: known.shape[1]]
        if ages is not None and by_age is not None:
            moved = moved + by_age.index_select(0, ages.flatten()).view(*ages.shape, UNITS)
        units = F.linear(cosines.transpose(1, 2), self.weight) + moved
        return (units.relu() * known.unsqueeze(2)).sum(dim=1).log1p()

    def thresholds(self) -> tuple[Tensor, Tensor | None]:
        """What is added to the units of an event, by its place (L, UNITS) and by its age (1 + AGE_BUCKETS, UNITS)."""
        return self.bias + BIAS_SPEED * self.places, None if self.ages is None else BIAS_SPEED * self.ages
