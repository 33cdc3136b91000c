"""Means of bags of rows of a table."""

from typing import Any

import torch
from torch import Tensor

from ranker.kernels.library import compiled


class BagMeans(torch.autograd.Function):
    """vectors (V, D), of which `places` (N,) names those of one bag after the other, `sizes` (G,) -> means (G, D).

    The mean of nothing is 0.
    """

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, places: Tensor, sizes: Tensor) -> Tensor:
        vectors, places, sizes = vectors.contiguous(), places.contiguous(), sizes.contiguous()
        means, ctx.rows = vectors.new_empty(len(sizes), vectors.shape[1]), len(vectors)
        ctx.save_for_backward(places, sizes)
        compiled().call("bag_means", [vectors, places, sizes, means], means.shape)
        return means

    @staticmethod
    def backward(ctx: Any, by_means: Tensor) -> tuple[Tensor | None, ...]:
        by_vectors = by_means.new_zeros(ctx.rows, by_means.shape[1])
        given = [by_means.contiguous(), *ctx.saved_tensors, by_vectors]
        compiled().call("bag_means_backward", given, by_means.shape)
        return by_vectors, None, None
