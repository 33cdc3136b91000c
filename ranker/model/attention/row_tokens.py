"""Attention over a row's tokens and their products: by a kernel, or the same in torch."""

from typing import NamedTuple

import torch
from torch import Tensor

from ranker.kernels.library import computes
from ranker.kernels.tokens import RowTokens
from ranker.model.repeats import Distinct


class Seen(NamedTuple):
    """What N tokens of a row's own, the last `users` of them held against its ad's J, say."""

    weights: Tensor  # (B, H, N + J)
    pooled: Tensor  # (B, H, A)
    products: Tensor  # (B, users, J, groups)
    squares: Tensor  # (B, users)


def row_tokens(own: Tensor, ads: Tensor, distinct: Distinct, asked: Tensor, users: int, groups: int) -> Seen:
    """`own` (B, N, A), `ads` (U, J, A) of the `distinct` ads, `asked` (B, H, A)."""
    if distinct.kinds is not None and computes(own, ads, asked):
        return Seen(*RowTokens.apply(own, ads, asked, distinct.kinds, users, groups))
    each = distinct.each(ads)
    tokens = torch.cat([own, each], dim=1)
    weights = (asked @ tokens.transpose(1, 2)).softmax(dim=2)
    of_users = own[:, own.shape[1] - users :]
    products = (of_users.unsqueeze(2) * each.unsqueeze(1)).unflatten(3, (groups, -1)).sum(dim=4)
    return Seen(weights, weights @ tokens, products, of_users.square().sum(dim=2))
