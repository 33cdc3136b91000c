"""kernels.cpp, called with plain pointers: the copy for the widest registers, where there is one."""

import ctypes
from collections.abc import Sequence
from ctypes import c_double, c_int64, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from artifacts.kernels.levels import chosen, copy_in, possible

TYPES = {torch.float: "float", torch.double: "double"}
ARGUMENTS: dict[str, list[Any]] = {  # types of ctypes
    "lists": [c_void_p] * 14 + [c_int64] * 6,
    "lists_backward": [c_void_p] * 20 + [c_int64] * 6,
    "tokens": [c_void_p] * 8 + [c_int64] * 7,
    "tokens_backward": [c_void_p] * 12 + [c_int64] * 7,
    "cross": [c_void_p] * 6 + [c_int64] * 4,
    "cross_backward": [c_void_p] * 10 + [c_int64] * 4,
    "perceptron": [c_void_p] * 6 + [c_int64] * 3,
    "perceptron_backward": [c_void_p] * 8 + [c_int64] * 3,
    "cosines": [c_void_p] * 5 + [c_int64] * 2 + [c_double],
    "bag_means": [c_void_p] * 4 + [c_int64] * 2,
    "bag_means_backward": [c_void_p] * 4 + [c_int64] * 2,
    "sums_by_kind": [c_void_p] * 3 + [c_int64] * 2,
    "rowwise_adagrad": [c_void_p] * 4 + [c_int64] * 2 + [c_double] * 2,
}


class Library:
    """The functions of one copy."""

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        self._functions = {}
        for name, arguments in ARGUMENTS.items():
            for dtype, kind in TYPES.items():
                function = library[f"{name}_{kind}"]
                function.argtypes = arguments
                function.restype = None
                self._functions[name, dtype] = function
        self._distinct = library["distinct"]
        self._distinct.argtypes = [c_void_p, c_int64, c_void_p, c_int64, c_void_p, c_void_p]
        self._distinct.restype = c_int64

    def call(self, name: str, tensors: Sequence[Tensor | None], sizes: Sequence[float]) -> None:
        """Raises TypeError unless all tensors are contiguous, and int64 or of the first one's type."""
        given = [tensor for tensor in tensors if tensor is not None]
        for tensor in given:
            if not tensor.is_contiguous() or tensor.dtype not in (torch.int64, given[0].dtype):
                raise TypeError(f"{name}: {tensor.dtype} beside {given[0].dtype}, or not contiguous")
        pointers = (None if tensor is None else tensor.data_ptr() for tensor in tensors)
        self._functions[name, given[0].dtype](*pointers, *sizes)

    def distinct(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """int64 keys (N,) -> where each kind occurs first (U,), and which kind each is (N,)."""
        keys, count = keys.contiguous(), len(keys)
        slots = 1 << max(2 * count - 1, 1).bit_length()
        table, places = torch.full((slots,), -1, dtype=torch.int64), torch.empty_like(keys)
        firsts = torch.empty_like(keys)
        found = self._distinct(*(keys.data_ptr(), count, table.data_ptr(), slots), places.data_ptr(), firsts.data_ptr())
        return firsts[:found], places


@cache
def _library(level: str) -> Library | None:
    path = copy_in(Path(__file__).parent, level)
    return None if path is None else Library(path)


@cache
def possible_levels() -> tuple[str, ...]:
    """Levels that this machine can run, the fastest first."""
    return possible(lambda level: copy_in(Path(__file__).parent, level))


def library() -> Library | None:
    """None where torch is all there is. Raises ConfigError for a TRANSRA_KERNELS that cannot run."""
    return _library(chosen(possible_levels()))


def compiled() -> Library:
    """Kernels that are there: asked for where `computes` says so."""
    found = library()
    assert found is not None, "no kernels"
    return found


def computes(*tensors: Tensor) -> bool:
    """Whether kernels take these: of one type, on a CPU, and not while a graph is traced."""
    if torch.compiler.is_exporting() or any(tensor.is_cuda for tensor in tensors):
        return False
    types = {tensor.dtype for tensor in tensors}
    return library() is not None and len(types) == 1 and types <= TYPES.keys()
