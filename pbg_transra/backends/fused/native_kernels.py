"""kernels.cpp, called with plain pointers."""

import ctypes
from collections.abc import Callable
from ctypes import c_double, c_int, c_int64, c_void_p
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import torch
from torch import Tensor

from pbg_transra.backends.fused.layout import Buffers
from pbg_transra.backends.fused.objective import Objective
from pbg_transra.backends.fused.projection import Spaces
from pbg_transra.backends.fused.torch_kernels import TorchKernels

SIMILARITIES = {"dot": 0, "cos": 0, "squared_l2": 1, "l2": 2}  # a cosine is the product of vectors of length one
LOSSES = {"softmax": 0, "logistic": 1, "ranking": 2}
TYPES = {torch.float: "float", torch.double: "double"}


def library_path() -> Path | None:
    """Where installing put the compiled kernels; None where there was no compiler."""
    paths = (Path(__file__).with_name(f"_kernels{suffix}") for suffix in EXTENSION_SUFFIXES)
    return next((path for path in paths if path.exists()), None)


class NativeKernels(TorchKernels):
    """Kernels (see there) compiled. The whole of `gradients_` only for float and AVX-512: elsewhere the matrix products
    stay torch's."""

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        self._scores: dict[torch.dtype, Callable[..., None]] = {}
        self._rows: dict[torch.dtype, Callable[..., None]] = {}
        self._components: dict[torch.dtype, Callable[..., None]] = {}
        for dtype, name in TYPES.items():
            scores = library[f"score_gradients_{name}"]
            scores.argtypes = [c_void_p] * 9 + [c_int64] * 4 + [c_double] * 4 + [c_int] * 2
            self._scores[dtype] = scores
            for steps, kind in ((self._rows, "rows"), (self._components, "components")):
                step = library[f"step_{kind}_{name}"]
                step.argtypes = [c_void_p] * 4 + [c_int64] * 2 + [c_double]
                steps[dtype] = step
        self._gradients: Callable[..., None] | None = None
        if library.has_wide_vectors():
            self._gradients = library.gradients_float
            library.gradients_float.argtypes = [c_void_p] * 11 + [c_int64] * 6 + [c_double] * 4 + [c_int] * 3

    def gradients_(
        self, objective: Objective, buffers: Buffers, spaces: Spaces, weights: Tensor, counts: Tensor
    ) -> tuple[Tensor, Spaces]:
        vectors, layout = buffers.vectors, buffers.layout
        if self._gradients is None or vectors.dtype != torch.float:
            return super().gradients_(objective, buffers, spaces, weights, counts)
        losses = torch.empty(layout.groups, dtype=torch.double)
        by_spaces = Spaces(tuple(map(torch.zeros_like, spaces.projections)), torch.zeros_like(spaces.translations))
        self._gradients(
            *(vectors.data_ptr(), *ends(spaces), spaces.translations.data_ptr(), weights.data_ptr(), counts.data_ptr()),
            *(buffers.gradients.data_ptr(), *ends(by_spaces), by_spaces.translations.data_ptr(), losses.data_ptr()),
            *(len(spaces.translations), layout.groups, layout.chunks, layout.size, layout.uniform, vectors.shape[1]),
            *(1 / objective.negatives, objective.scale, objective.margin, objective.head_weight),
            *(SIMILARITIES[objective.similarity], LOSSES[objective.loss], objective.similarity == "cos"),
        )
        return losses, by_spaces

    def score_gradients_(self, objective: Objective, buffers: Buffers, weights: Tensor, counts: Tensor) -> Tensor:
        layout, norms, apart, norm_gradients = (
            buffers.layout,
            buffers.norms,
            buffers.apart,
            buffers.norm_gradients.zero_(),
        )
        losses = torch.empty(layout.groups, dtype=torch.double)
        tensors = (buffers.within, buffers.right, buffers.left, norms, apart, norm_gradients, weights, counts, losses)
        self._scores[norms.dtype](
            *(tensor.data_ptr() for tensor in tensors),
            *(layout.groups, layout.chunks, layout.size, layout.uniform),
            *(1 / objective.negatives, objective.scale, objective.margin, objective.head_weight),
            *(SIMILARITIES[objective.similarity], LOSSES[objective.loss]),
        )
        return losses

    def step_rows_(self, table: Tensor, sums: Tensor, rows: Tensor, gradients: Tensor, lr: float) -> None:
        pointers = (tensor.data_ptr() for tensor in (table, sums, rows, gradients))
        self._rows[table.dtype](*pointers, *gradients.shape, lr)

    def step_components_(self, table: Tensor, sums: Tensor, rows: Tensor, gradients: Tensor, lr: float) -> None:
        pointers = (tensor.data_ptr() for tensor in (table, sums, rows, gradients))
        self._components[table.dtype](*pointers, *gradients.shape, lr)


def ends(spaces: Spaces) -> tuple[int | None, int | None]:
    """Where the heads' and the tails' projections lie; none for anchors."""
    if not spaces.projections:
        return None, None
    return spaces.projections[0].data_ptr(), spaces.projections[-1].data_ptr()
