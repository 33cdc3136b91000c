"""A PyTorch-BigGraph checkpoint directory, read only and without torch.

    checkpoint_version.txt                the committed version <N>
    embeddings_<type>_<part>.v<N>.h5      /embeddings (entities, D) float32
    model.v<N>.h5                         /model/relations/<index>/operator/rhs/<parameter>

No version is read that is not committed, so a training that is under way does not disturb.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from artifacts.errors import DataError
from artifacts.graph import EntityType, Graph, ids_path

Parameters = dict[str, NDArray[Any]]


class Checkpoint:
    """The committed version of a checkpoint."""

    def __init__(self, directory: Path) -> None:
        """Raises DataError when nothing is committed (PBG itself would silently start again at version 0)."""
        self.directory = directory
        path = directory / "checkpoint_version.txt"
        text = path.read_text().strip() if path.exists() else ""
        if not text.isdecimal() or int(text) == 0:
            raise DataError(f"{path}: expected the number of a committed checkpoint, found '{text}'; train first")
        self.version = int(text)

    def _open(self, stem: str) -> h5py.File:
        path = self.directory / f"{stem}.v{self.version}.h5"
        try:
            return h5py.File(path, "r")
        except OSError as error:
            raise DataError(f"{path}: expected a file of checkpoint version {self.version} ({error})") from error

    @contextmanager
    def vectors(self, entity_type: str, partition: int) -> Iterator[h5py.Dataset]:
        """Opens the vectors of a partition, (entities, D) float32, to be read slice by slice."""
        with self._open(f"embeddings_{entity_type}_{partition}") as file:
            yield file["embeddings"]

    def shape(self, entity_type: str, partition: int) -> tuple[int, int]:
        """Returns (entities, D) of a partition."""
        with self.vectors(entity_type, partition) as dataset:
            return int(dataset.shape[0]), int(dataset.shape[1])

    def relation_parameters(self, index: int) -> Parameters:
        """Returns the stored parameters of a relation's operator by name, in the shapes in which PBG keeps them."""
        with self._open("model") as file:
            group = file.get(f"model/relations/{index}/operator/rhs")
            parameters = {} if group is None else {name: dataset[...] for name, dataset in group.items()}
        for name, values in parameters.items():
            if not np.isfinite(values).all():
                raise DataError(f"{self.directory}: relation {index}: its {name} holds a NaN or an infinity")
        return parameters

    def require_fits(self, graph: Graph, dimension: int) -> None:
        """Raises DataError, a line per partition, unless the vectors are those of `graph` at this dimension."""
        problems = [
            f"{self.directory}: checkpoint of another graph or dimension: type '{entity_type.name}', partition "
            f"{partition}: found {found[0]} vectors of length {found[1]}, expected {count} of length {dimension}"
            for entity_type in graph.entity_types
            for partition, count in enumerate(entity_type.counts)
            if (found := self.shape(entity_type.name, partition)) != (count, dimension)
        ]
        if problems:
            raise DataError(*problems)


def as_matrices(parameters: Parameters, dimension: int) -> Parameters:
    """Returns parameters with flat projections (D * D,) viewed as (D, D)."""
    return {
        name: values.reshape(dimension, dimension) if name.endswith("projection") else values
        for name, values in parameters.items()
    }


def require_finite(vectors: NDArray[Any], graph_dir: Path, entity_type: EntityType, partition: int, start: int) -> None:
    """Raises DataError naming the first entity of a block (B, D), which begins at offset `start`, with a NaN."""
    bad = ~np.isfinite(vectors).all(axis=1)
    if bad.any():
        offset = start + int(bad.argmax())
        ids = pq.read_table(ids_path(graph_dir, entity_type.name, partition), columns=["id"])["id"]
        raise DataError(
            f"entity type '{entity_type.name}', id {ids[offset].as_py()!r} (partition {partition}, offset {offset}): "
            f"its vector holds a NaN or an infinity"
        )
