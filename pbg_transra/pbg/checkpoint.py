"""A PyTorch-BigGraph checkpoint directory, read only and without torch.

    checkpoint_version.txt                the committed version <N>
    embeddings_<type>_<part>.v<N>.h5      /embeddings (entities, D) float32
    model.v<N>.h5                         /model/relations/<index>/operator/rhs/<parameter>
    config.json                           PBG's config: names, types and operators of the relations

No version is read that is not committed, so a training that is under way does not disturb.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from artifacts.errors import DataError
from artifacts.files.hdf5 import BROKEN, dataset_in, open_hdf5
from artifacts.files.json_file import read_json
from artifacts.formats.graph import EntityType, Graph, ids_path
from pbg_transra.pbg.committed import committed_version

Parameters = dict[str, NDArray[Any]]


class Checkpoint:
    """The committed version of a checkpoint."""

    def __init__(self, directory: Path) -> None:
        """Raises DataError when nothing is committed."""
        self.directory = directory
        self.version = committed_version(directory)

    def _open(self, stem: str) -> h5py.File:
        path = self.directory / f"{stem}.v{self.version}.h5"
        return open_hdf5(path, f"a file of checkpoint version {self.version}")

    @contextmanager
    def vectors(self, entity_type: str, partition: int) -> Iterator[h5py.Dataset]:
        """Opens the vectors of a partition, (entities, D) float32, to be read slice by slice."""
        with self._open(f"embeddings_{entity_type}_{partition}") as file:
            try:
                dataset = dataset_in(file, "embeddings", "float32")
                if dataset.ndim != 2:
                    raise ValueError(f"{dataset.name} has shape {dataset.shape}")
            except BROKEN as error:
                raise DataError(f"{file.filename}: expected vectors of a checkpoint ({error})") from error
            yield dataset

    def shape(self, entity_type: str, partition: int) -> tuple[int, int]:
        """Returns (entities, D) of a partition."""
        with self.vectors(entity_type, partition) as dataset:
            return int(dataset.shape[0]), int(dataset.shape[1])

    def relation_parameters(self, index: int) -> Parameters:
        """Returns the stored parameters of a relation's operator by name, in the shapes in which PBG keeps them."""
        with self._open("model") as file:
            try:
                group = file.get(f"model/relations/{index}/operator/rhs")
                parameters = {} if group is None else {name: dataset_in(group, name, "float32")[...] for name in group}
            except BROKEN as error:
                raise DataError(f"{file.filename}: expected the parameters of relation {index} ({error})") from error
        for name, values in parameters.items():
            if not np.isfinite(values).all():
                raise DataError(f"{self.directory}: relation {index}: its {name} holds a NaN or an infinity")
        return parameters

    def require_fits(self, graph: Graph, dimension: int) -> None:
        """Raises DataError at the first relation or partition that is not one of `graph` at this dimension."""
        self._require_relations(graph)
        for entity_type in graph.entity_types:
            for partition, count in enumerate(entity_type.counts):
                found = self.shape(entity_type.name, partition)
                if found != (count, dimension):
                    raise DataError(
                        f"{self.directory}: checkpoint of another graph or dimension: type '{entity_type.name}', "
                        f"partition {partition}: found {found[0]} vectors of length {found[1]}, expected {count} of "
                        f"length {dimension}"
                    )

    def _require_relations(self, graph: Graph) -> None:
        """Relations are known to PBG by their place only; the config that it keeps beside them has the names."""
        path = self.directory / "config.json"
        if not path.exists():
            return
        try:
            config = read_json(path, dict[str, Any], "the config that PBG keeps with a checkpoint")
            trained = [(r["name"], r["lhs"], r["rhs"]) for r in config["relations"]]
        except (KeyError, TypeError) as error:
            raise DataError(f"{path}: expected the config that PBG keeps with a checkpoint ({error!r})") from error
        expected = [(relation.name, relation.lhs, relation.rhs) for relation in graph.relations]
        for index, (one, other) in enumerate(zip_longest(trained, expected)):
            if one != other:
                raise DataError(
                    f"{self.directory}: checkpoint of another graph: relation {index} is {_arrow(one)}, "
                    f"expected {_arrow(other)}"
                )


def _arrow(relation: tuple[str, str, str] | None) -> str:
    return "absent" if relation is None else "'{}' ({} -> {})".format(*relation)


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
