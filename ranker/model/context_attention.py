"""The tabular context attends to everything that the graph says of an impression."""

import math

import torch
from torch import Tensor, nn


class ContextAttention(nn.Module):
    """The tabular context asks, the tokens answer: (B, C) and (B, N, A) -> (B, A) and the weights (B, H, N)."""

    def __init__(self, context: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(context, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.gate = nn.Linear(context, width)
        self.residual = nn.Linear(context, width)

    def forward(self, context: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        query, keys, values = (
            part.view(len(context), -1, self.heads, part.shape[-1] // self.heads).transpose(1, 2)
            for part in (self.query(context), self.key(tokens), self.value(tokens))
        )
        weights = (query @ keys.transpose(2, 3) / math.sqrt(query.shape[-1])).softmax(dim=3)
        answer = (weights @ values).flatten(1)
        return self.residual(context) + torch.sigmoid(self.gate(context)) * answer, weights.squeeze(2)
