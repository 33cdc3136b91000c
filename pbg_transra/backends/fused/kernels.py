"""What costs time in a step, which is all of it, and which implementation runs."""

from functools import cache
from typing import Protocol

from torch import Tensor

from pbg_transra.backends.fused.batches import Batch
from pbg_transra.backends.fused.levels import library_path
from pbg_transra.backends.fused.native_kernels import NativeKernels
from pbg_transra.backends.fused.setting import End, Setting
from pbg_transra.backends.fused.torch_kernels import TorchKernels


class Kernels(Protocol):
    """What both implementations do."""

    def train_(
        self, setting: Setting, batch: Batch, heads: End, tails: End, negatives: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Takes one step: row-wise Adagrad on vectors, Adagrad on the parameters of relations, in place. Returns the
        groups' losses (G,), double precision; where one is not finite, some of it may not have moved, and losses after
        it may be missing.

        `negatives`: rows (G * U,) of heads and of tails. Raises IndexError, and nothing moves, when a table lacks a
        row.
        """
        ...


@cache
def kernels_of(level: str) -> Kernels:
    """A level's kernels; it must be possible (see levels.py)."""
    path = library_path(level)
    return NativeKernels(path) if path else TorchKernels()
