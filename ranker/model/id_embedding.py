"""The large ID table: every id is the sum of a few rows that hashes choose."""

import zlib

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ranker.config.sections import IdsConfig
from ranker.data.slots import Layout

INIT_SCALE = 0.01  # small: an id that training never saw should say nothing
MULTIPLIERS = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F, 0x165667B1, 0xD3A2646D, 0xFD7046C5, 0xB55A4F09)


class IdEmbedding(nn.Module):
    """Ids of all slots in one table; slots of one entity type share their ids' embeddings.

    Shapes: hashes (B, T) int64 with 0 for no id -> (B, S, D), one embedding per slot; a list is the mean of its ids.
    In training `dropout` of them are zero, so that what follows also learns to do without (DropoutNet, NIPS 2017).

    >>> ids = IdEmbedding(config.ids, Layout.of(config))
    >>> ids(batch.hashes)
    """

    salts: Tensor
    multipliers: Tensor

    def __init__(self, config: IdsConfig, layout: Layout) -> None:
        super().__init__()
        self.rows, self.dim, self.dropout = config.rows, config.dim, config.dropout
        self.slots = layout.slots
        self.table = nn.Parameter(INIT_SCALE * torch.randn(config.rows, config.dim))
        salts = [zlib.crc32(slot.space.encode()) for slot in layout.slots for _ in range(slot.width)]
        self.register_buffer("salts", torch.tensor(salts), persistent=False)
        self.register_buffer("multipliers", torch.tensor(MULTIPLIERS[: config.hashes]), persistent=False)

    def places(self, hashes: Tensor) -> Tensor:
        """The rows of each id, (B, T, K). The k-th choice is a multiplicative hash of its own."""
        mixed = ((hashes ^ self.salts) & 0xFFFFFFFF).unsqueeze(-1) * self.multipliers
        return ((mixed >> 15) & 0x7FFFFFFF) % self.rows

    def forward(self, hashes: Tensor) -> Tensor:
        present = hashes != 0
        lengths = torch.stack([present[:, slot.tokens].sum(dim=1) for slot in self.slots], dim=1)
        sizes = lengths.flatten() * len(self.multipliers)
        chosen = self.places(hashes)[present]
        bags = F.embedding_bag(chosen.flatten(), self.table, sizes.cumsum(0) - sizes, mode="sum", sparse=True)
        means = bags.view(*lengths.shape, self.dim) / lengths.clamp(min=1).unsqueeze(-1)
        if self.training and self.dropout:
            means = means * (torch.rand(lengths.shape, device=means.device) >= self.dropout).unsqueeze(-1)
        return means
