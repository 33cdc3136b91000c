"""Categoricals and numerics: what every arm sees."""

import torch
from torch import Tensor, nn

from ranker.data.batch import Batch

DIM = 8  # of a categorical's embedding


class Tabular(nn.Module):
    """(B, C) codes and (B, F) numbers -> (B, `width`).

    A missing number becomes 0 (the training mean) and, where training rows missed some, sets a flag beside it.
    """

    def __init__(self, vocabularies: list[int], missing: list[bool]) -> None:
        super().__init__()
        tables = [nn.Embedding(width, DIM) for width in vocabularies]
        for table in tables:
            nn.init.normal_(table.weight, std=0.1)
        self.embeddings = nn.ModuleList(tables)
        self.numerics = len(missing)
        self.flagged = [index for index, was_missing in enumerate(missing) if was_missing]
        self.width = DIM * len(vocabularies) + len(missing) + len(self.flagged)

    def forward(self, batch: Batch) -> Tensor:
        codes = [embedding(batch.categoricals[:, index]) for index, embedding in enumerate(self.embeddings)]
        flags = batch.numerics[:, self.flagged].isnan().float()
        return torch.cat([*codes, batch.numerics.nan_to_num(0.0), flags], dim=1)
