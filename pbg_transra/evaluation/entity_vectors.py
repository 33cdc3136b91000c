"""The vectors of all entities of a type, streamed from a checkpoint in global row order."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from artifacts.formats.graph import Graph
from pbg_transra.backends.tail_bias import constant_types
from pbg_transra.config import ModelConfig
from pbg_transra.evaluation.global_edges import Rows
from pbg_transra.known import ask_for_what_is_popular_, trained_rows
from pbg_transra.pbg.checkpoint import Checkpoint, require_finite

BLOCK_ROWS = 1 << 16


@dataclass(frozen=True)
class Entities:
    """Where vectors come from, and the `dtype` in which they are compared.

    `trained`, (entities,) by type: who is exported with a vector of its own; of types that are exported as they are in
    the checkpoint there is none.
    """

    graph_dir: Path
    graph: Graph
    checkpoint: Checkpoint
    dtype: torch.dtype
    trained: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)

    def exported(self, model: ModelConfig, degrees: Mapping[str, NDArray[np.int32]]) -> "Entities":
        """The same as whoever reads an export has them: heads of anchors that were never trained ask for what is
        popular, where there are biases. `degrees`: training edges of each entity by type, (entities,)."""
        constant = sorted(constant_types(self.graph.relations, model))
        return replace(self, trained={name: self._trained(name, degrees[name] > 0) for name in constant})

    def _trained(self, entity_type: str, have_edges: NDArray[np.bool_]) -> NDArray[np.bool_]:
        parts = np.split(have_edges, np.cumsum(self.graph.entity_type(entity_type).counts)[:-1])
        found = [trained_rows(self.checkpoint.directory, entity_type, *part) for part in enumerate(parts)]
        return np.concatenate(found)

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
                    if entity_type in self.trained:
                        rows = slice(first + start, first + start + len(block))
                        ask_for_what_is_popular_(block, self.trained[entity_type][rows])
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
