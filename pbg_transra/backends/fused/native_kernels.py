"""kernels.cpp, called with plain pointers."""

import ctypes
from ctypes import c_double, c_int, c_int64, c_void_p
from pathlib import Path

import torch
from torch import Tensor

from pbg_transra.backends.fused.batches import Batch
from pbg_transra.backends.fused.setting import End, Setting

SIMILARITIES = {"dot": 0, "cos": 0, "squared_l2": 1, "l2": 2}  # a cosine is the product of vectors of length one
LOSSES = {"softmax": 0, "logistic": 1, "ranking": 2}
TYPES = {torch.float: "float", torch.double: "double"}
MISSING = 2  # a table lacks a row (Outcome in step.hpp)


class NativeBatch(ctypes.Structure):
    """Batch in step.hpp, which says what each means."""

    _fields_ = (
        *((name, c_void_p * 2) for name in ("vectors", "sums", "ends", "negatives", "decays")),
        *((name, c_void_p * 2) for name in ("projections", "projection_sums")),
        *((name, c_void_p) for name in ("translations", "translation_sums", "starts", "lengths", "relations")),
        *((name, c_void_p) for name in ("slots", "fixed", "relation_weights", "weights", "losses")),
        *((name, c_int64 * 2) for name in ("counts", "held")),
        *((name, c_int64) for name in ("groups", "uniform", "dimension", "within")),
        *((name, c_int64) for name in ("similarity", "loss", "unit", "tail_bias")),
        *((name, c_double) for name in ("share", "scale", "margin", "head_weight")),
        *((name, c_double) for name in ("pull", "regularization", "lr", "relation_lr")),
        ("missing", c_int64 * 2),
    )


class NativeKernels:
    """Kernels (see there) compiled for one level."""

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        self._train = {dtype: library[f"train_{kind}"] for dtype, kind in TYPES.items()}
        for function in self._train.values():
            function.argtypes, function.restype = [ctypes.POINTER(NativeBatch)], c_int

    def train_(
        self, setting: Setting, batch: Batch, heads: End, tails: End, negatives: tuple[Tensor, Tensor]
    ) -> Tensor:
        objective, relations, edges = setting.objective, setting.relations, batch.edges
        losses = torch.zeros(len(batch.starts), dtype=torch.double)
        stacks = [relations.projections[number] for number in (0, -1)] if relations.projections else []
        given = NativeBatch(
            vectors=pointers(heads.vectors, tails.vectors),
            sums=pointers(heads.sums, tails.sums),
            ends=pointers(edges.heads, edges.tails),
            negatives=pointers(*negatives),
            decays=pointers(*(() if edges.decays is None else edges.decays)),
            projections=pointers(*(stack.values for stack in stacks)),
            projection_sums=pointers(*(stack.sums for stack in stacks)),
            translations=relations.translations.values.data_ptr(),
            translation_sums=relations.translations.sums.data_ptr(),
            starts=batch.starts.ctypes.data,
            lengths=batch.lengths.ctypes.data,
            relations=batch.relations.ctypes.data,
            slots=relations.rows.data_ptr(),
            fixed=None if relations.fixed is None else relations.fixed.data_ptr(),
            relation_weights=setting.weights.data_ptr(),
            weights=None if edges.weights is None else edges.weights.data_ptr(),
            losses=losses.data_ptr(),
            counts=(heads.vectors.shape[0], tails.vectors.shape[0]),
            held=(heads.held, tails.held),
            groups=len(batch.starts),
            uniform=batch.layout.uniform,
            dimension=heads.vectors.shape[1],
            within=batch.layout.chunks == 1,
            similarity=SIMILARITIES[objective.similarity],
            loss=LOSSES[objective.loss],
            unit=objective.similarity == "cos",
            tail_bias=objective.tail_bias,
            share=1 / objective.negatives,
            scale=objective.scale,
            margin=objective.margin,
            head_weight=objective.head_weight,
            pull=objective.pull,
            regularization=objective.regularization,
            lr=setting.lr,
            relation_lr=relations.lr,
        )
        if self._train[heads.vectors.dtype](given) == MISSING:
            raise IndexError("row {} of a table of {}".format(*given.missing))
        return losses


def pointers(*tensors: Tensor) -> tuple[int, ...]:
    """Where they lie."""
    return tuple(tensor.data_ptr() for tensor in tensors)
