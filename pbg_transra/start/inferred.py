"""Vectors between two nights (`transra infer`): entities that came after training, from a graph of their events alone.

Each begins where a warm training would put it (`new_entities`); nothing is trained. What is known is looked up by id in
the published export, which is mapped, so memory holds the vectors of a partition of the new graph and no more.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from artifacts.embeddings import Embeddings
from artifacts.errors import DataError
from artifacts.files.replaced import replaced
from artifacts.formats.graph import EntityType, Graph, ids_path, load_graph
from pbg_transra.backends.tail_bias import constant_types
from pbg_transra.reports import Inferred
from pbg_transra.start.from_run import Former
from pbg_transra.start.new_entities import ROUNDS, NewEntities, Typical, fitted
from pbg_transra.start.published import PublishedModel

SAMPLE = 1 << 16  # known vectors of a type whose mean length is taken
BLOCK_ROWS = 1 << 16  # entities that are written together


def infer_entities(published: PublishedModel, export: Path, graph_dir: Path, out: Path) -> Inferred:
    """Writes `out`, a Parquet file of `type`, `id` and `vector` (D floats), a row for each entity of the graph that the
    export has no vector of, and that has an edge with one that it has, or with one that such an edge has placed.

    The file appears whole or stays what it was. Raises DataError where no relation of the graph is one of the model's.
    """
    inference = _Inference(published, Embeddings(export), graph_dir)
    vector = pa.list_(pa.float32(), inference.vectors.dimension)
    schema = pa.schema([("type", pa.string()), ("id", pa.string()), ("vector", vector)])
    placed = dict.fromkeys((kind.name for kind in inference.graph.entity_types), 0)
    with replaced(out) as file, pq.ParquetWriter(file, schema, compression="none", use_dictionary=["type"]) as writer:
        for kind, ids, vectors in inference.blocks():
            flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), type=vector)
            writer.write_table(pa.table([pa.array([kind] * len(ids)), ids.cast(pa.string()), flat], schema=schema))
            placed[kind] += len(ids)
    known = sum(int(part.sum()) for part in inference.known.values())
    alone = inference.graph.entities - known - sum(placed.values())
    return Inferred({kind: count for kind, count in placed.items() if count}, known, alone, inference.other_edges)


@dataclass
class _Inference:
    """The model, and the graph of the events."""

    published: PublishedModel
    vectors: Embeddings
    graph_dir: Path
    _rows: dict[tuple[str, int], NDArray[np.int64]] = field(default_factory=dict)

    @cached_property
    def graph(self) -> Graph:
        return load_graph(self.graph_dir)

    @cached_property
    def parameters(self) -> Mapping[int, dict[str, NDArray[Any]]]:
        """Of the graph's relations that the model knows, by their index. Raises DataError where there is none."""
        former = Former(self.published, load_graph(self.published.graph_dir))
        trained, found = former.relations()[0], {}
        for index, relation in enumerate(self.graph.relations):
            theirs = former.index.get(relation.name)
            if theirs is None:
                continue
            sides = former.graph.relations[theirs]
            if (sides.lhs, sides.rhs) != (relation.lhs, relation.rhs):
                raise DataError(
                    f"relation '{relation.name}' joins '{relation.lhs}' and '{relation.rhs}', in run "
                    f"{self.published.run} '{sides.lhs}' and '{sides.rhs}'"
                )
            found[index] = {name: values.detach().numpy() for (at, name), values in trained.items() if at == theirs}
        if not found:
            names = ", ".join(relation.name for relation in self.graph.relations)
            raise DataError(f"run {self.published.run} knows none of the events' relations ({names})")
        return found

    @property
    def other_edges(self) -> dict[str, int]:
        """Edges of relations that the model does not know, by name."""
        others = (one for index, one in enumerate(self.graph.relations) if index not in self.parameters)
        return {relation.name: relation.edges["train"] for relation in others if relation.edges["train"]}

    @cached_property
    def known(self) -> dict[tuple[str, int], NDArray[np.bool_]]:
        """Of each type and partition, who has a vector, (n,)."""
        for kind in self.graph.entity_types:
            for part in range(kind.partitions):
                ids = pq.read_table(ids_path(self.graph_dir, kind.name, part), columns=["id"])["id"]
                is_there = kind.name in self.vectors.types
                rows = self.vectors.rows(kind.name, ids) if is_there else np.full(len(ids), -1, np.int64)
                self._rows[kind.name, part] = rows
        return {place: rows >= 0 for place, rows in self._rows.items()}

    def table(self, entity: str, partition: int) -> NDArray[np.float32]:
        """The vectors of a partition, (n, D), also of those that are placed by now; zeros where there is none."""
        rows, placed = self._rows[entity, partition], self._placed(entity, partition)
        shape = len(rows), self.vectors.dimension
        found: NDArray[np.float32] = np.load(placed) if placed.exists() else np.zeros(shape, np.float32)
        found[rows >= 0] = self.vectors.vectors(entity)[rows[rows >= 0]]
        self.vectors.require_finite(entity, found, 0)
        return found

    def blocks(self) -> Iterator[tuple[str, pa.Array, NDArray[np.float32]]]:
        """Yields type, ids (B,) and vectors (B, D) of new entities."""
        heard = self.known
        for _ in range(ROUNDS - 1):
            heard = self._heard(heard)
        for kind, part, offsets, vectors in self._solved(heard):
            ids = self._ids(kind, part).take(pa.array(offsets))
            for first in range(0, len(ids), BLOCK_ROWS):
                yield kind.name, ids[first : first + BLOCK_ROWS], vectors[first : first + BLOCK_ROWS]

    def _heard(self, heard: dict[tuple[str, int], NDArray[np.bool_]]) -> dict[tuple[str, int], NDArray[np.bool_]]:
        """Places new entities, beside the graph; returns who is heard from then on."""
        found = dict(heard)
        for kind, part, offsets, vectors in self._solved(heard):
            table = self.table(kind.name, part)
            table[offsets] = vectors
            np.save(self._placed(kind.name, part), table)
            found[kind.name, part] = heard[kind.name, part] | np.isin(np.arange(len(table)), offsets)
        return found

    def _solved(
        self, heard: dict[tuple[str, int], NDArray[np.bool_]]
    ) -> Iterator[tuple[EntityType, int, NDArray[Any], NDArray[np.float32]]]:
        """Yields type, partition, offsets (M,) and vectors (M, D) of new entities that hear somebody."""
        model = self.published.model
        solving = NewEntities(self.graph_dir, self.graph, model, heard, self.table, self.parameters)
        constants = constant_types(load_graph(self.published.graph_dir).relations, model)
        for kind in self.graph.entity_types:
            typical = self._typical(kind.name)
            for part in range(kind.partitions):
                if (new := ~self.known[kind.name, part]).any():
                    offsets, solutions = solving.solve(kind, part, new)
                    yield kind, part, offsets, fitted(solutions, typical, model, kind.name in constants)

    def _placed(self, entity: str, partition: int) -> Path:
        return self.graph_dir / f"placed_{entity}_{partition}.npy"

    def _ids(self, kind: EntityType, partition: int) -> pa.Array:
        return pq.read_table(ids_path(self.graph_dir, kind.name, partition), columns=["id"])["id"].combine_chunks()

    def _typical(self, entity: str) -> Typical:
        if entity not in self.vectors.types:
            return Typical(0.0, 0.0)
        return Typical.of(self.vectors.sample(entity, SAMPLE), self.published.model)
