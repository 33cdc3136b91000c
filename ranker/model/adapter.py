"""Graph vectors, adapted to the ranker."""

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
