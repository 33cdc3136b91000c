"""Cross layers, a few rows at a time through all of them."""

from typing import Any

import torch
from torch import Tensor

from ranker.kernels.library import compiled

WHOLE = 16  # numbers that are whole vectors at every level


class CrossLayers(torch.autograd.Function):
    """x (B, D); down (L, r, D), up (L, D, r), bias (L, D) -> x_L (B, D), x_{l+1} = x_0 * (U_l V_l x_l + b_l) + x_l."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, down: Tensor, up: Tensor, bias: Tensor) -> Tensor:
        given = [one.contiguous() for one in (x, down, up, bias)]
        (rows, width), (layers, rank, _) = x.shape, down.shape
        crossed, lowered = torch.empty_like(given[0]), x.new_empty(layers, rows, -(-rank // WHOLE) * WHOLE)
        ctx.sizes = (rows, width, layers, rank)
        compiled().call("cross", [*given, crossed, lowered], ctx.sizes)
        ctx.save_for_backward(*given, lowered)
        return crossed

    @staticmethod
    def backward(ctx: Any, by_crossed: Tensor) -> tuple[Tensor, ...]:
        *given, lowered = ctx.saved_tensors
        found = [torch.empty_like(one) for one in given]
        compiled().call("cross_backward", [*given, lowered, by_crossed.contiguous(), *found], ctx.sizes)
        return tuple(found)
