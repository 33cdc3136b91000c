"""The graph vectors of an export, by entity type: frozen and memory-mapped, or fine-tuned."""

import warnings
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from artifacts.embeddings import Embeddings
from ranker.kernels.bags import BagMeans
from ranker.kernels.library import computes
from ranker.model.tables.table import Table
from ranker.processes.blocks import block_of

NORM_SAMPLE = 10_000  # vectors that tell how long a type's are


class KgeTable(nn.Module):
    """Vectors by row. Frozen ones stay on disk; fine-tuned ones are parameters with sparse gradients.

    A row that training never touches keeps the vector of the export, also while others are fine-tuned. Vectors are
    divided by their type's typical component, so that types compare whatever the scale they were trained at.
    """

    def __init__(self, export: Embeddings, types: Iterable[str], finetune: bool) -> None:
        super().__init__()
        self.dimension, self.finetune = export.dimension, finetune
        self.scales = {name: _scale(export.sample(name, NORM_SAMPLE)) for name in types}
        self._frozen = {} if finetune else {name: mapped(export.vectors(name)) for name in types}
        self._copies: dict[tuple[str, torch.device], Tensor] = {}
        self.tuned = {name: _table(export.vectors(name)) for name in types} if finetune else {}
        self.vectors = nn.ParameterDict({name: table.parameter for name, table in self.tuned.items()})

    def forward(self, entity_type: str, rows: Tensor) -> Tensor:
        """(...) rows of a type, -1 for an unknown entity -> (..., D) vectors, zero for an unknown one."""
        return self.exported(entity_type, rows) * ((rows >= 0) * self.scales[entity_type]).unsqueeze(-1)

    def exported(self, entity_type: str, rows: Tensor) -> Tensor:
        """The same at the scale of the export, and with any vector for an unknown entity: for those who mask it."""
        if self.finetune:
            return self.tuned[entity_type](rows.clamp(min=0))
        vectors = self._near(entity_type, rows.device)
        wanted = rows.clamp(min=0).flatten().to(vectors.device)
        return vectors.index_select(0, wanted).to(rows.device).float().view(*rows.shape, -1)

    def means(self, entity_type: str, rows: Tensor) -> Tensor:
        """Rows (B, W) -> the means (B, D) of those that are known, zero where none is."""
        known, frozen = rows >= 0, self._frozen.get(entity_type)
        if frozen is not None and not rows.is_cuda and computes(frozen):
            means: Tensor = BagMeans.apply(frozen, rows[known], known.sum(dim=1))
            return means * self.scales[entity_type]
        return self(entity_type, rows).sum(dim=1) / known.sum(dim=1, keepdim=True).clamp(min=1)

    def _near(self, entity_type: str, device: torch.device) -> Tensor:
        """Frozen vectors on the device that asks, where it has room for them; else where the file is mapped."""
        frozen = self._frozen[entity_type]
        if device == frozen.device:
            return frozen
        key = entity_type, device
        if key not in self._copies:
            self._copies[key] = frozen.to(device) if has_room(device, frozen.nbytes) else frozen
        return self._copies[key]


def _table(vectors: np.ndarray) -> Table:
    """Vectors (N, D) of an export, of which only what this process holds is read."""
    block = block_of(len(vectors))
    return Table(len(vectors), torch.tensor(vectors[block.start : block.stop], dtype=torch.float32))


def has_room(device: torch.device, needed: int) -> bool:
    """Whether so many bytes are at most half of what a GPU has free."""
    return device.type != "cuda" or needed <= torch.cuda.mem_get_info(device)[0] // 2


def mapped(vectors: np.ndarray) -> Tensor:
    """A tensor over the mapped file, (N, D): nothing is read before it is asked for."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(vectors)


def _scale(sample: np.ndarray) -> float:
    """What brings the components of vectors (M, D) to a root mean square of 1."""
    return float(1 / max(np.sqrt(np.square(sample).mean()), 1e-12)) if len(sample) else 1.0
