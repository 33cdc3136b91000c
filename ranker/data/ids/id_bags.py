"""Which rows of the ID table make up an id, and what they come to: in training and in scoring."""

import zlib
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ranker.data.ids.slots import Layout
from ranker.kernels.bags import BagMeans
from ranker.kernels.distinct import distinct
from ranker.kernels.library import computes

MULTIPLIERS = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F, 0x165667B1, 0xD3A2646D, 0xFD7046C5, 0xB55A4F09)


def salts_of(layout: Layout) -> list[int]:
    """A number for each of a row's T tokens; ids that mean the same thing share theirs."""
    return [zlib.crc32(slot.space.encode()) for slot in layout.slots for _ in range(slot.width)]


def table_rows(salted: Tensor, multipliers: Tensor, rows: int) -> Tensor:
    """Hashes of ids (...), mixed with their salts -> the K of the table's `rows` that each is the sum of, (..., K).

    The k-th choice is a multiplicative hash of its own.
    """
    mixed = (salted & 0xFFFFFFFF).unsqueeze(-1) * multipliers
    return ((mixed >> 15) & 0x7FFFFFFF) % rows


def id_means(
    look_up: Callable[[Tensor], Tensor], rows: int, hashes: Tensor, salts: Tensor, multipliers: Tensor, layout: Layout
) -> Tensor:
    """Ids (B, T), 0 for no id -> (B, S, D), one embedding per slot; a list is the mean of its ids.

    `look_up` gives the vectors (U, K, D) of rows (U, K) of a table with so many `rows`.

    Most ids are in a batch many times: each is looked up once, and its gradients are summed up before they are sparse.
    """
    present = hashes != 0
    lengths = torch.stack([present[:, slot.tokens].sum(dim=1) for slot in layout.slots], dim=1)
    firsts, each = distinct(salted := (hashes ^ salts)[present])
    summed = look_up(table_rows(salted.index_select(0, firsts), multipliers, rows)).sum(dim=1)
    sizes = lengths.flatten()
    if computes(summed):
        means: Tensor = BagMeans.apply(summed, each, sizes)
        return means.view(*lengths.shape, -1)
    bags = F.embedding_bag(each, summed, sizes.cumsum(0) - sizes, mode="sum")
    return bags.view(*lengths.shape, summed.shape[1]) / lengths.clamp(min=1).unsqueeze(-1)
