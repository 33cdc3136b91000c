"""What a row's tokens say of each other, in one pass over them."""

from typing import Any

import torch
from torch import Tensor

from ranker.kernels.library import compiled


class RowTokens(torch.autograd.Function):
    """Attention over a row's tokens, and products of some of them with those of its ad.

    own (B, N, A); ads (U, J, A), of which `kinds` (B,) says whose is whose; asked (B, H, A), scaled. The last `users`
    of a row's own are held against its ad, in `groups` of components.
    -> weights (B, H, N + J), what they sum up to (B, H, A), products (B, users, J, groups), squares (B, users).
    """

    @staticmethod
    def forward(
        ctx: Any, own: Tensor, ads: Tensor, asked: Tensor, kinds: Tensor, users: int, groups: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        own, ads, asked = own.contiguous(), ads.contiguous(), asked.contiguous()
        (rows, owned, width), slots, heads = own.shape, ads.shape[1], asked.shape[1]
        weights, pooled = own.new_empty(rows, heads, owned + slots), own.new_empty(rows, heads, width)
        products, squares = own.new_empty(rows, users, slots, groups), own.new_empty(rows, users)
        ctx.sizes = (rows, owned, slots, heads, width, users, groups)
        compiled().call("tokens", [own, ads, kinds, asked, weights, pooled, products, squares], ctx.sizes)
        ctx.save_for_backward(own, ads, kinds, asked, weights)
        return weights, pooled, products, squares

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor | None, ...]:
        own, ads, kinds, asked, weights = ctx.saved_tensors
        found = [torch.zeros_like(own), torch.zeros_like(ads), torch.empty_like(asked)]
        gradients = [one.contiguous() for one in given]
        compiled().call("tokens_backward", [own, ads, kinds, asked, weights, *gradients, *found], ctx.sizes)
        return (*found, None, None, None)
