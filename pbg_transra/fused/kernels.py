"""The loops of a step that are not matrix products, and which implementation of them runs."""

from functools import cache
from typing import Protocol

from torch import Tensor

from pbg_transra.fused.layout import Buffers
from pbg_transra.fused.objective import Objective


class Kernels(Protocol):
    """What both implementations do. All tensors are contiguous; letters as in Layout."""

    def score_gradients_(self, objective: Objective, buffers: Buffers, weights: Tensor, counts: Tensor) -> Tensor:
        """Turns the inner products in `buffers` into the loss's gradients by them, in place.

        `within` holds heads times tails of a chunk, `right` heads times negative tails, `left` tails times negative
        heads. Distances also read `norms` and write `norm_gradients`. weights: (G * n,) of the edges' losses. counts:
        (G * chunks,) edges of each chunk; the rest is padding. Returns the losses of the groups (G,), double precision.
        """
        ...

    def step_rows_(self, table: Tensor, sums: Tensor, rows: Tensor, gradients: Tensor, lr: float) -> None:
        """Row-wise Adagrad on `table` (N, D) and `sums` (N,). `rows` (n,) repeat; `gradients` (n, D) are used up."""
        ...

    def step_components_(self, table: Tensor, sums: Tensor, rows: Tensor, gradients: Tensor, lr: float) -> None:
        """Adagrad on rows of `table` and `sums`, both (R, W). `rows` (n,) repeat; `gradients` (n, W) are used up."""
        ...


@cache
def fastest_kernels() -> Kernels:
    """The compiled ones where installing could compile them."""
    from pbg_transra.fused.native_kernels import NativeKernels, library_path
    from pbg_transra.fused.torch_kernels import TorchKernels

    path = library_path()
    return NativeKernels(path) if path else TorchKernels()
