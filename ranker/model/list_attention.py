"""The ad attends to a list of the user's."""

import torch
from torch import Tensor, nn


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
