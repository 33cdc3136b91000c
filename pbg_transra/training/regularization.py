"""How strongly the vectors of an edge's ends are regularized: by their degree.

With one weight for all edges an entity's vector is held by its degree times that weight, as strongly as its edges
pull: popular and rare ones shrink alike. With one weight for all entities only the rare ones are held. Here each edge
holds an end by sqrt(typical / degree), so that an entity is held by sqrt(typical * degree). Of the exponents 0, 0.3,
0.5, 0.7 and 1 of the degree the middle ones were best on validation pairs of five graphs (docs/results.md). Rendle et
al. (2021, arXiv 2110.14037) scale the regularization of ALS by the degree likewise.
"""

import mmap
import os
import tempfile
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from artifacts.formats.graph import Bucket, EntityType, Graph, Side
from pbg_transra.degrees import training_degrees


class DegreeDecays:
    """sqrt(typical / degree) of every entity; typical is the geometric mean, over the edges' ends of its type.

    Lies in a file without a name (4 bytes an entity), which is read where edges need it, and is not held between two
    buckets; in memory are the degrees of a partition while they are counted.
    """

    def __init__(self, graph_dir: Path, graph: Graph, scratch: Path) -> None:
        """Reads every training edge once for each side. Raises OSError where `scratch` has no room for the file."""
        self._graph = graph
        # by side: its types once each, and the number of each relation's among them
        self._sides = {side: _numbered(graph.types_on(side)) for side in Side}
        keys = [(kind.name, part) for kind in graph.entity_types for part in range(kind.partitions)]
        counts = [graph.entity_type(name).counts[part] for name, part in keys]
        self._starts = dict(zip(keys, accumulate([0, *counts]), strict=False))
        with tempfile.TemporaryFile(dir=scratch) as file:
            # Room first: a page that the disk has no room for would be a bus error.
            os.posix_fallocate(file.fileno(), 0, max(1, 4 * sum(counts)))
            self._map = mmap.mmap(file.fileno(), max(1, 4 * sum(counts)))
        self._values = np.frombuffer(self._map, np.float32, sum(counts))
        for kind in graph.entity_types:
            logs = ends = 0.0
            for part in range(kind.partitions):
                degrees = training_degrees(graph_dir, graph, kind, part).sum(1, dtype=np.float32)
                logs += float(degrees @ np.log(np.maximum(degrees, 1)))
                ends += float(degrees.sum(dtype=np.float64))
                self._of(kind.name, part)[:] = degrees
            for part in range(kind.partitions):
                values = self._of(kind.name, part)
                np.maximum(values, 1, out=values)
                np.sqrt(np.exp(logs / max(ends, 1)) / values, out=values)
            self._release()

    def fill(self, bucket: Bucket, relations: Tensor, heads: Tensor, tails: Tensor, into: Tensor) -> None:
        """Writes the factors of edges of a bucket, given by their columns (E,), into (2, E)."""
        for side, rows, out in zip(Side, (heads, tails), into, strict=True):
            part, (types, numbers) = side.pick(*bucket), self._sides[side]
            for number, kind in enumerate(types):
                chosen = numbers[relations] == number
                values = self._of(kind.name, kind.partition_in(part))
                out[chosen] = torch.from_numpy(values[rows[chosen].numpy()])
        self._release()

    def _release(self) -> None:
        """Makes what was read or written no memory of ours: the file keeps it, and the system may have its pages."""
        self._map.madvise(mmap.MADV_DONTNEED)

    def _of(self, name: str, part: int) -> np.ndarray:
        first = self._starts[name, part]
        return self._values[first : first + self._graph.entity_type(name).counts[part]]


def _numbered(of_relations: list[EntityType]) -> tuple[list[EntityType], Tensor]:
    """The types, each once, and for each relation which of them is its own, (R,)."""
    types = list(dict.fromkeys(of_relations))
    return types, torch.tensor([types.index(kind) for kind in of_relations])
