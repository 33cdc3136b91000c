"""How often the graph has seen an entity: a vector says what it is like, not how much is known of it."""

import numpy as np
import torch
from torch import Tensor, nn

from artifacts.embeddings import Embeddings
from ranker.data.batch import Batch
from ranker.data.ids.slots import Layout, Slot
from ranker.model.tables.kge_table import mapped

SAMPLE = 10_000  # entities that tell how degrees of a type are distributed
LEAST_SPREAD, LARGEST = 0.1, 15.0  # a relation that hardly anyone has would give numbers without end


class Degrees(nn.Module):
    """Logarithms of training edges by relation and side, brought to scale, of all single ids: -> (B, `width`).

    An entity that the graph does not know has no edges.
    """

    def __init__(self, layout: Layout, export: Embeddings) -> None:
        super().__init__()
        self.slots = [slot for slot in layout.graph(lists=False) if self._known(export, slot)]
        self.width = sum(len(export.degree_names(str(slot.type))) for slot in self.slots)
        self._tables = {}
        for kind in sorted({str(slot.type) for slot in self.slots}):
            degrees = export.degrees(kind)
            assert degrees is not None
            self._tables[kind] = mapped(degrees)
            logs = torch.from_numpy(np.asarray(degrees[:: max(len(degrees) // SAMPLE, 1)], np.float32)).log1p()
            self.register_buffer(f"mean_{kind}", logs.mean(dim=0), persistent=False)
            spread = logs.std(dim=0, correction=0).clamp(min=LEAST_SPREAD)
            self.register_buffer(f"spread_{kind}", spread, persistent=False)

    @staticmethod
    def _known(export: Embeddings, slot: Slot) -> bool:
        degrees = export.degrees(str(slot.type))
        return degrees is not None and len(degrees) > 0

    def forward(self, batch: Batch) -> Tensor:
        found = [self._slot(slot, batch.rows[:, slot.tokens].squeeze(1)) for slot in self.slots]
        return torch.cat(found, dim=1) if found else batch.numerics[:, :0]

    def _slot(self, slot: Slot, rows: Tensor) -> Tensor:
        """(B,) rows -> (B, K)."""
        table = self._tables[str(slot.type)]
        degrees = table.index_select(0, rows.clamp(min=0).to(table.device)).to(rows.device)
        logs = (degrees * (rows >= 0).unsqueeze(1)).float().log1p()
        scaled = (logs - self.get_buffer(f"mean_{slot.type}")) / self.get_buffer(f"spread_{slot.type}")
        return scaled.clamp(max=LARGEST)
