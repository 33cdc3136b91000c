"""The vectors of all entities of a type, streamed from a checkpoint in global row order."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from artifacts.graph import Graph
from pbg_transra.config import ModelConfig
from pbg_transra.evaluation.global_edges import Rows
from pbg_transra.pbg.checkpoint import Checkpoint, require_finite

BLOCK_ROWS = 1 << 16


@dataclass(frozen=True)
class Entities:
    """Where vectors come from, and the `dtype` in which they are compared."""

    graph_dir: Path
    graph: Graph
    checkpoint: Checkpoint
    dtype: torch.dtype

    def count(self, entity_type: str) -> int:
        return self.graph.entity_type(entity_type).count

    def blocks(self, entity_type: str) -> Iterator[tuple[int, Tensor]]:
        """Yields (first row, (B, D) vectors) in row order. Raises DataError at a NaN."""
        kind, first = self.graph.entity_type(entity_type), 0
        for partition, count in enumerate(kind.counts):
            with self.checkpoint.vectors(entity_type, partition) as dataset:
                for start in range(0, count, BLOCK_ROWS):
                    block = dataset[start : start + BLOCK_ROWS]
                    require_finite(block, self.graph_dir, kind, partition, start)
                    yield first + start, torch.from_numpy(block).to(self.dtype)
            first += count

    def gather(self, entity_type: str, rows: Rows) -> Tensor:
        """Returns the vectors of M rows in any order, (M, D), in one pass over the type."""
        unique, inverse = np.unique(rows, return_inverse=True)
        parts = [
            block[unique[slice(*np.searchsorted(unique, (first, first + len(block))))] - first]
            for first, block in self.blocks(entity_type)
        ]
        return torch.cat(parts)[inverse]


def open_entities(graph_dir: Path, graph: Graph, model_dir: Path, model: ModelConfig, dtype: torch.dtype) -> Entities:
    """Raises DataError for a checkpoint of another graph or dimension."""
    checkpoint = Checkpoint(model_dir)
    checkpoint.require_fits(graph, model.dimension)
    return Entities(graph_dir, graph, checkpoint, dtype)
