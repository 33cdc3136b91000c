"""What costs time in a step, and which implementation of it runs."""

from functools import cache
from typing import Protocol

from torch import Tensor

from pbg_transra.backends.fused.layout import Buffers
from pbg_transra.backends.fused.levels import library_path
from pbg_transra.backends.fused.objective import Objective
from pbg_transra.backends.fused.projection import Spaces


class Kernels(Protocol):
    """What both implementations do. All tensors are contiguous; letters as in Layout."""

    def gradients_(
        self, objective: Objective, buffers: Buffers, spaces: Spaces, weights: Tensor, counts: Tensor
    ) -> tuple[Tensor, Spaces]:
        """Loss and gradients, without the pull, of the batch whose vectors are in `buffers`.

        weights: (G, n) of the edges' losses. counts: (G * chunks,) edges of each chunk; the rest is padding. Writes the
        gradients by vectors into `buffers`; returns the groups' losses (G,), double precision, and those by `spaces`.
        """
        ...

    def gather(self, table: Tensor, rows: Tensor, out: Tensor) -> None:
        """Copies `rows` (n,) of `table` (N, D) into `out` (n, D). Raises IndexError when the table lacks one."""
        ...

    def step_rows_(self, table: Tensor, sums: Tensor, rows: Tensor, gradients: Tensor, lr: float) -> None:
        """Row-wise Adagrad on `table` (N, D) and `sums` (N,). `rows` (n,) repeat; `gradients` (n, D) are used up."""
        ...

    def step_components_(self, table: Tensor, sums: Tensor, rows: Tensor, gradients: Tensor, lr: float) -> None:
        """Adagrad on rows of `table` and `sums`, both (R, W). `rows` (n,) repeat; `gradients` (n, W) are used up."""
        ...


@cache
def kernels_of(level: str) -> Kernels:
    """A level's kernels; it must be possible (see levels.py)."""
    from pbg_transra.backends.fused.native_kernels import NativeKernels
    from pbg_transra.backends.fused.torch_kernels import TorchKernels

    path = library_path(level)
    return NativeKernels(path) if path else TorchKernels()
