"""Attention over graph vectors: what is attended to is adapted, the ad attends to lists, the context to all of it."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
        """`normed` (B, D), zero where not `known` (B, 1), which is 0 or 1; `ids` (B, I) -> (B, A)."""
        # Of an unknown entity's zeros the map leaves its bias, which the difference replaces.
        instead = (self.absent - self.linear.bias).unsqueeze(0)
        adapted = torch.addmm(self.linear(normed), 1 - known, instead)
        if ids is None or self.id_value is None or self.id_gate is None:
            return adapted
        gate = torch.sigmoid(self.id_gate(torch.cat([ids, known], dim=1)))
        return torch.addcmul(adapted, gate, self.id_value(ids))


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
        answer, weights = self.attend(*self.asked(ads), normed, known)
        return self.answer(answer, weights[:, :, 0]), weights

    def asked(self, ads: Tensor) -> tuple[Tensor, Tensor]:
        """Of ads (B, J * A): what is held against the list (B, H * D), and its products with the empty list (B, H)."""
        query = self.query(ads) * self.dimension**-0.5
        return query, query.unflatten(1, (self.heads, self.dimension)) @ self.empty

    def attend(self, query: Tensor, empty: Tensor, normed: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """What `asked` gave, and a list -> the sum of the list's vectors (B, H, D), and all weights (B, H, 1 + L)."""
        listed = query.unflatten(1, (self.heads, self.dimension)) @ normed.transpose(1, 2)
        listed = listed.masked_fill(~known.unsqueeze(1), -torch.inf)
        weights = torch.cat([empty.unsqueeze(2), listed], dim=2).softmax(dim=2)
        return weights[:, :, 1:] @ normed, weights

    def answer(self, total: Tensor, of_empty: Tensor) -> Tensor:
        """(B, H, D) of the list and the weights (B, H) of the empty one -> (B, A)."""
        empty = self.value.weight.unflatten(1, (self.heads, self.dimension)) @ self.empty  # (A, H)
        return torch.addmm(self.value(total.flatten(1)), of_empty, empty.T)


class ContextAttention(nn.Module):
    """The tabular context asks, the tokens answer: (B, C) and (B, N, A) -> (B, A) and the weights (B, H, N).

    As in `ListAttention`, the maps of keys and values are moved to the query and to the sum: one each, not N. Keys
    have no bias, which would add the same to all scores of a head. What is made of the context alone is one product.
    """

    def __init__(self, context: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(context, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.gate = nn.Linear(context, width)
        self.residual = nn.Linear(context, width)

    def forward(self, context: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        asked, gate, residual = self.asked(context)
        weights = (asked @ tokens.transpose(1, 2)).softmax(dim=2)
        return self.answer(weights @ tokens, gate, residual), weights

    def asked(self, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What tokens are held against (B, H, A), and the gate and what the answer is added to, (B, A) each."""
        width = self.key.out_features
        size = width // self.heads
        keys = self.key.weight.unflatten(0, (self.heads, size)).transpose(1, 2) / math.sqrt(size)  # (H, A, A / H)
        query = keys @ self.query.weight.unflatten(0, (self.heads, size))  # (H, A, C)
        bias = keys @ self.query.bias.view(self.heads, size, 1)
        weights = torch.cat([query.flatten(0, 1), self.gate.weight, self.residual.weight])
        biases = torch.cat([bias.flatten(), self.gate.bias, self.residual.bias])
        of_context = F.linear(context, weights, biases).unflatten(1, (self.heads + 2, width))
        return of_context[:, : self.heads], of_context[:, self.heads], of_context[:, self.heads + 1]

    def answer(self, pooled: Tensor, gate: Tensor, residual: Tensor) -> Tensor:
        """Weighted sums of the tokens (B, H, A) -> (B, A)."""
        values = self.value.weight.unflatten(0, (self.heads, -1))  # (H, A / H, A)
        answer = (pooled.transpose(0, 1) @ values.transpose(1, 2)).transpose(0, 1).flatten(1) + self.value.bias
        return torch.addcmul(residual, torch.sigmoid(gate), answer)
