"""The md5 hashes of entities, on disk: what a portable hash of edges is made of once their ids are offsets."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from artifacts.expressions.engine import translated
from partitioning.edges.key import Indices, Keys
from partitioning.entities.entity_map import EntityMap


class EntityHashes:
    """Hashes by type, partition and offset, in files below the spill directory."""

    def __init__(self, directory: Path, entities: dict[str, EntityMap]) -> None:
        self._directory = directory
        self._starts = {name: np.cumsum([0, *map.counts[:-1]]) for name, map in entities.items()}

    def write(self, type: str, batches: Iterable[Keys]) -> None:
        """Writes the hashes (N,) of a type, which come partition by partition in the order of offsets."""
        with translated(), self._path(type).open("wb") as file:
            for batch in batches:
                batch.tofile(file)

    def of(self, types: list[str], relation: Indices, part: Indices, offsets: Indices) -> Keys:
        """Hashes (N,) of the entities at offsets (N,) of partitions (N,); `types` are those of the relations."""
        hashes = np.empty(len(offsets), np.uint64)
        for name in sorted(set(types)):
            rows = np.flatnonzero(np.array([name == type for type in types])[relation])
            if len(rows):
                of_type = np.memmap(self._path(name), np.uint64, "r")
                hashes[rows] = of_type[self._starts[name][part[rows]] + offsets[rows]]
        return hashes

    def _path(self, type: str) -> Path:
        return self._directory / f"hash-{type}"
