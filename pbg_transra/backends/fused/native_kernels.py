"""kernels.cpp, called with plain pointers."""

import ctypes
from collections.abc import Callable
from ctypes import c_double, c_int, c_int64, c_void_p
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pbg_transra.backends.fused.layout import Buffers
from pbg_transra.backends.fused.objective import Objective
from pbg_transra.backends.fused.projection import Spaces

SIMILARITIES = {"dot": 0, "cos": 0, "squared_l2": 1, "l2": 2}  # a cosine is the product of vectors of length one
LOSSES = {"softmax": 0, "logistic": 1, "ranking": 2}
TYPES = {torch.float: "float", torch.double: "double"}
ARGUMENTS: dict[str, list[Any]] = {
    "gradients": [c_void_p] * 11 + [c_int64] * 6 + [c_double] * 4 + [c_int] * 3,
    "gather": [c_void_p, c_int64, c_void_p, c_int64, c_int64, c_void_p],
    "step_rows": [c_void_p] * 4 + [c_int64] * 2 + [c_double],
    "step_components": [c_void_p] * 4 + [c_int64] * 2 + [c_double],
}


class NativeKernels:
    """Kernels (see there) compiled for one level."""

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        self._functions: dict[tuple[str, torch.dtype], Callable[..., Any]] = {}
        for name, arguments in ARGUMENTS.items():
            for dtype, kind in TYPES.items():
                function = library[f"{name}_{kind}"]
                function.argtypes, function.restype = arguments, c_int64 if name == "gather" else None
                self._functions[name, dtype] = function

    def gradients_(
        self, objective: Objective, buffers: Buffers, spaces: Spaces, weights: Tensor, counts: Tensor
    ) -> tuple[Tensor, Spaces]:
        vectors, layout = buffers.vectors, buffers.layout
        losses = torch.empty(layout.groups, dtype=torch.double)
        by_spaces = Spaces(tuple(map(torch.zeros_like, spaces.projections)), torch.zeros_like(spaces.translations))
        self._functions["gradients", vectors.dtype](
            *(vectors.data_ptr(), *ends(spaces), spaces.translations.data_ptr(), weights.data_ptr(), counts.data_ptr()),
            *(buffers.gradients.data_ptr(), *ends(by_spaces), by_spaces.translations.data_ptr(), losses.data_ptr()),
            *(
                spaces.translations.shape[0],
                layout.groups,
                layout.chunks,
                layout.size,
                layout.uniform,
                vectors.shape[1],
            ),
            *(1 / objective.negatives, objective.scale, objective.margin, objective.head_weight),
            *(SIMILARITIES[objective.similarity], LOSSES[objective.loss], objective.similarity == "cos"),
        )
        return losses, by_spaces

    def gather(self, table: Tensor, rows: Tensor, out: Tensor) -> None:
        gather, size = self._functions["gather", table.dtype], table.shape[0]
        copied = gather(table.data_ptr(), size, rows.data_ptr(), *out.shape, out.data_ptr())
        if copied < rows.shape[0]:  # len() of a tensor takes as long as a small product
            raise IndexError(f"row {int(rows[copied])} of a table of {size}")

    def step_rows_(self, table: Tensor, sums: Tensor, rows: Tensor, gradients: Tensor, lr: float) -> None:
        pointers = (tensor.data_ptr() for tensor in (table, sums, rows, gradients))
        self._functions["step_rows", table.dtype](*pointers, *gradients.shape, lr)

    def step_components_(self, table: Tensor, sums: Tensor, rows: Tensor, gradients: Tensor, lr: float) -> None:
        pointers = (tensor.data_ptr() for tensor in (table, sums, rows, gradients))
        self._functions["step_components", table.dtype](*pointers, *gradients.shape, lr)


def ends(spaces: Spaces) -> tuple[int | None, int | None]:
    """Where the heads' and the tails' projections lie; none for anchors."""
    if not spaces.projections:
        return None, None
    return spaces.projections[0].data_ptr(), spaces.projections[-1].data_ptr()
