"""Categoricals and numerics: what every arm sees."""

import torch
from torch import Tensor, nn

from ranker.data.batch import Batch

DIM = 8  # of a categorical's embedding
KNOTS = (-3.0, -2.25, -1.8, -1.4, -1.1, -0.8, -0.5, -0.25, 0.0, 0.25, 0.5, 0.8, 1.1, 1.4, 1.8, 2.25, 3.0)  # in spreads
RAMPS = len(KNOTS) - 1
LARGEST = 4.0  # spreads: how far a number itself is followed


class Tabular(nn.Module):
    """(B, C) codes and (B, F) numbers -> (B, `width`).

    A missing number becomes 0 (the training mean) and, where training rows missed some, sets a flag beside it. Every
    number is seen as it is and as ramps between knots, so that what it means may change on the way: a network that is
    given the number alone needs many times the rows to find a threshold that boosting finds at once (piecewise linear
    encoding, arXiv 2203.05556). Beyond LARGEST spreads it says no more: of a count that is nearly always 0, one event
    lies a hundred spreads away, and the cross layers multiply such numbers with each other.
    """

    knots: Tensor

    def __init__(self, vocabularies: list[int], missing: list[bool]) -> None:
        super().__init__()
        tables = [nn.Embedding(width, DIM) for width in vocabularies]
        for table in tables:
            nn.init.normal_(table.weight, std=0.1)
        self.embeddings = nn.ModuleList(tables)
        self.numerics = len(missing)
        self.flagged = [index for index, was_missing in enumerate(missing) if was_missing]
        self.width = DIM * len(vocabularies) + (1 + RAMPS) * len(missing) + len(self.flagged)
        self.register_buffer("knots", torch.tensor(KNOTS), persistent=False)

    def forward(self, batch: Batch) -> Tensor:
        codes = [embedding(batch.categoricals[:, index]) for index, embedding in enumerate(self.embeddings)]
        flags = batch.numerics[:, self.flagged].isnan().float()
        numbers = batch.numerics.nan_to_num(0.0)
        followed = numbers.clamp(-LARGEST, LARGEST)
        return torch.cat([*codes, followed, self._ramps(numbers), flags], dim=1)

    def _ramps(self, numbers: Tensor) -> Tensor:
        """(B, F) -> (B, F * RAMPS): how much of each stretch between two knots lies below a number, from 0 to 1."""
        risen = (numbers.unsqueeze(2) - self.knots[:-1]) / (self.knots[1:] - self.knots[:-1])
        return risen.clamp(0.0, 1.0).flatten(1)
