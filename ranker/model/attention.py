"""Attention over graph vectors: what is attended to is adapted, the ad attends to lists, the context to all of it."""

import math

import torch
from torch import Tensor, nn


class Adapter(nn.Module):
    """(B, D) normed graph vectors -> (B, A): a linear map that begins as `start` (A, D).

    Where all begin as one rotation, two adapted vectors compare as they do in the graph (in A axes of it). An entity
    that the graph does not know has a learned vector; where there are ID embeddings (B, I), a gate adds them: the
    embedding of an id that training has not seen is almost zero, and the vector falls back to the graph's.
    """

    def __init__(self, start: Tensor, id_dim: int) -> None:
        super().__init__()
        width, dimension = start.shape
        self.linear = nn.Linear(dimension, width)
        self.absent = nn.Parameter(torch.zeros(width))
        nn.init.zeros_(self.linear.bias)
        with torch.no_grad():
            self.linear.weight.copy_(start)
        self.id_value = nn.Linear(id_dim, width, bias=False) if id_dim else None
        self.id_gate = nn.Linear(id_dim + 1, width) if id_dim else None

    def forward(self, normed: Tensor, known: Tensor, ids: Tensor | None) -> Tensor:
        """`normed` (B, D), `known` (B, 1) 0 or 1, `ids` (B, I) -> (B, A)."""
        adapted = torch.where(known > 0, self.linear(normed), self.absent)
        if ids is None or self.id_value is None or self.id_gate is None:
            return adapted
        gate = torch.sigmoid(self.id_gate(torch.cat([ids, known], dim=1)))
        return adapted + gate * self.id_value(ids)


class ListAttention(nn.Module):
    """The target ad attends to a list of the user's: (B, L, D) vectors -> (B, A).

    Keys and values of a linear map cost L maps a row; moved to the query and to the sum (both are linear) they cost
    one each, exactly. An empty list attends to a learned vector, whose score the others compete with; it is scored by
    itself, so that frozen vectors need no gradient. `start` (A, D) is the first map of the adapted vectors, and
    `same` the place of the ad's slot of the list's type, to whose vector the first scores are the similarities.
    """

    def __init__(self, start: Tensor, heads: int, ad_slots: int, same: int | None) -> None:
        super().__init__()
        width, self.dimension = start.shape
        self.heads = heads
        self.query = nn.Linear(ad_slots * width, heads * self.dimension)
        self.value = nn.Linear(heads * self.dimension, width)
        self.empty = nn.Parameter(torch.zeros(self.dimension))
        nn.init.normal_(self.query.weight, std=0.01)
        nn.init.zeros_(self.query.bias)
        nn.init.zeros_(self.value.bias)
        with torch.no_grad():
            self.value.weight.copy_(torch.cat([start] * heads, dim=1) / heads)
            if same is not None:
                self.query.weight[:, same * width : (same + 1) * width] += torch.cat([start.T] * heads, dim=0)

    def forward(self, ads: Tensor, normed: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """`ads` (B, J * A), `normed` (B, L, D), `known` (B, L) -> (B, A) and the weights (B, H, 1 + L)."""
        query = self.query(ads).view(-1, self.heads, self.dimension)
        listed = (query @ normed.transpose(1, 2)).masked_fill(~known.unsqueeze(1), -torch.inf)
        scores = torch.cat([(query @ self.empty).unsqueeze(2), listed], dim=2)
        weights = (scores * self.dimension**-0.5).softmax(dim=2)
        answer = weights[:, :, 1:] @ normed + weights[:, :, :1] * self.empty
        return self.value(answer.flatten(1)), weights


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
            part.view(context.shape[0], -1, self.heads, part.shape[-1] // self.heads).transpose(1, 2)
            for part in (self.query(context), self.key(tokens), self.value(tokens))
        )
        weights = (query @ keys.transpose(2, 3) / math.sqrt(query.shape[-1])).softmax(dim=3)
        answer = (weights @ values).flatten(1)
        return self.residual(context) + torch.sigmoid(self.gate(context)) * answer, weights.squeeze(2)
