"""The large ID table: every id is the sum of a few rows that hashes choose."""

import torch
from torch import Tensor, nn

from ranker.config.sections import IdsConfig
from ranker.data.ids.id_bags import MULTIPLIERS, id_means, salts_of, table_rows
from ranker.data.ids.slots import Layout
from ranker.model.tables.table import Table, drawn
from ranker.processes.blocks import block_of

INIT_SCALE = 0.01  # small: an id that training never saw should say nothing


class IdEmbedding(nn.Module):
    """Ids of all slots in one table; slots of one entity type share their ids' embeddings.

    Shapes: hashes (B, T) int64 with 0 for no id -> (B, S, D), one embedding per slot; a list is the mean of its ids.

    >>> ids = IdEmbedding(config.ids, Layout.of(config))
    >>> ids(batch.hashes)
    """

    salts: Tensor
    multipliers: Tensor

    def __init__(self, config: IdsConfig, layout: Layout) -> None:
        super().__init__()
        self.rows, self.dim = config.rows, config.dim
        self.layout = layout
        block = drawn(config.rows, config.dim, INIT_SCALE, block_of(config.rows))
        self.held = Table(config.rows, block)
        self.table = self.held.parameter
        self.register_buffer("salts", torch.tensor(salts_of(layout)), persistent=False)
        self.register_buffer("multipliers", torch.tensor(MULTIPLIERS[: config.hashes]), persistent=False)

    def places(self, hashes: Tensor) -> Tensor:
        """The rows of each id, (B, T, K)."""
        return table_rows(hashes ^ self.salts, self.multipliers, self.rows)

    def forward(self, hashes: Tensor) -> Tensor:
        return id_means(self.held, self.rows, hashes, self.salts, self.multipliers, self.layout)
