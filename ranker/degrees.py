"""How often the graph has seen an entity: a vector says what it is like, not how much is known of it."""

import numpy as np
import torch
from torch import Tensor, nn

from artifacts.embeddings import Embeddings
from ranker.batch import Batch
from ranker.kge_table import mapped
from ranker.layout import Layout, Slot

SAMPLE = 10_000  # entities that tell how degrees of a type are distributed


class Degrees(nn.Module):
    """Logarithms of training edges by relation and side, brought to scale, of all slots side by side: -> (B, `width`).

    An entity that the graph does not know has no edges.
    """

    def __init__(self, layout: Layout, export: Embeddings) -> None:
        super().__init__()
        self.slots = [slot for slot in layout.graph(lists=False) if export.degree_names(str(slot.type))]
        self.width = sum(len(export.degree_names(str(slot.type))) for slot in self.slots)
        self._tables = {}
        for kind in sorted({str(slot.type) for slot in self.slots}):
            degrees = export.degrees(kind)
            assert degrees is not None
            self._tables[kind] = mapped(degrees)
            logs = np.log1p(np.asarray(degrees[:: max(len(degrees) // SAMPLE, 1)], np.float32))
            mean, spread = (torch.from_numpy(of(logs, axis=0)) for of in (np.mean, np.std))
            self.register_buffer(f"mean_{kind}", mean, persistent=False)
            self.register_buffer(f"spread_{kind}", spread.clamp(min=0.1), persistent=False)

    def forward(self, batch: Batch) -> Tensor:
        found = [self._slot(slot, batch.rows[:, slot.tokens].squeeze(1)) for slot in self.slots]
        return torch.cat(found, dim=1) if found else batch.numerics[:, :0]

    def _slot(self, slot: Slot, rows: Tensor) -> Tensor:
        """(B,) rows -> (B, K)."""
        table = self._tables[str(slot.type)]
        degrees = table.index_select(0, rows.clamp(min=0).to(table.device)).to(rows.device)
        logs = (degrees * (rows >= 0).unsqueeze(1)).float().log1p()
        return (logs - self.get_buffer(f"mean_{slot.type}")) / self.get_buffer(f"spread_{slot.type}")
