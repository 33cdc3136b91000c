"""Training that begins from the published run (`model.warm_start`).

Entities and relations are found by id and by name, so that neither the number of partitions nor the order of an entity
map matters. Known ones take their values over, with Adagrad's sums times SUMS_KEPT: whole sums would hold yesterday's
vectors nearly still, and without any the first steps would throw them away. New entities begin where their edges put
them (`new_entities`), at random where no edge leads to a known one; new relations begin as in a new model.

What is written is version 0 of our checkpoint, where training looks for first values, so a training that is killed and
begins again has the same ones. With `max_drift` they stay in start/ until training is done (`drift`).
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from artifacts.errors import DataError
from artifacts.files.hdf5 import BROKEN, open_hdf5
from artifacts.formats.graph import EntityType, Graph, load_graph
from pbg_transra.backends.tail_bias import constant_types
from pbg_transra.config import FreezeConfig, ModelConfig
from pbg_transra.degrees import have_edges
from pbg_transra.known import keep_known, known_rows, trained_rows
from pbg_transra.pbg.checkpoint import Checkpoint, require_finite
from pbg_transra.pbg.checkpoint_format import PREFIX, read_relations, read_row_sums, vectors_in
from pbg_transra.pbg.embedder import make_embedder
from pbg_transra.pbg.stock import START, StartWriter
from pbg_transra.reports import WarmStart
from pbg_transra.start.first_values import keep_start
from pbg_transra.start.initial import random_initial
from pbg_transra.start.new_entities import ROUNDS, NewEntities, Typical, fitted
from pbg_transra.start.published import PublishedModel

Rows = dict[str, list[NDArray[np.int64]]]  # of each type's partitions: rows in the former graph, -1 where new
SUMS_KEPT = 0.1  # of Adagrad's sums of what is known


def adopt_run(previous: PublishedModel, graph_dir: Path, model: ModelConfig, destination: Path) -> WarmStart:
    """Writes version 0 of a checkpoint of the graph into `destination`, from a published run.

    A partition of each graph is in memory at a time, and the ids of one type of both. Raises ConfigError for a model of
    another space, DataError for a checkpoint that cannot be read or holds a NaN.
    """
    previous.require_same_space(model)
    graph, former = load_graph(graph_dir), Former(previous, load_graph(previous.graph_dir))
    former.require_whole()
    start = _Start(graph_dir, graph, model, former, destination)
    relations = start.relations()
    rows = {kind.name: former.rows(kind, graph_dir) for kind in graph.entity_types}
    for kind in graph.entity_types:
        start.known(kind, rows[kind.name])
        for partition, of_partition in enumerate(rows[kind.name]):
            keep_known(destination, kind.name, partition, of_partition >= 0)
    placed = start.new(rows, relations)
    if model.max_drift is not None or model.freeze is not None:
        keep_start(destination, graph, [r.name for r in graph.relations if r.name in former.index])
    known = sum(int((part >= 0).sum()) for parts in rows.values() for part in parts)
    fresh = tuple(r.name for r in graph.relations if r.name not in former.index)
    return WarmStart(previous.run, known, placed, graph.entities - known - placed, fresh)


@dataclass(frozen=True)
class Former:
    """The model that a training begins from."""

    published: PublishedModel
    graph: Graph

    @property
    def index(self) -> dict[str, int]:
        """Places of its relations by name."""
        return {relation.name: place for place, relation in enumerate(self.graph.relations)}

    def require_whole(self) -> None:
        """Raises DataError where the checkpoint is not of the run's graph."""
        Checkpoint(self.published.model_dir).require_fits(self.graph, self.published.model.dimension)

    def rows(self, kind: EntityType, graph_dir: Path) -> list[NDArray[np.int64]]:
        """Rows (n,) of the entities of each partition, -1 where it has none or never trained them: those are new."""
        found = known_rows(graph_dir, kind, self.published.graph_dir, self.graph)
        former = next((each for each in self.graph.entity_types if each.name == kind.name), None)
        if former is None:
            return found
        trained = [
            trained_rows(
                self.published.model_dir,
                former.name,
                partition,
                have_edges(self.published.graph_dir, self.graph, former, partition),
            )
            for partition in range(former.partitions)
        ]
        every = np.append(np.concatenate(trained), False)  # what is not there, -1, is the last
        return [np.where(every[rows], rows, -1) for rows in found]

    def relations(self) -> tuple[dict[tuple[int, str], Tensor], dict[tuple[int, str], Tensor]]:
        """Parameters by the relation's index and their name, and their Adagrad sums, where kept."""
        version = Checkpoint(self.published.model_dir).version
        path, what = self.published.model_dir / f"model.v{version}.h5", "relations of a checkpoint"
        with open_hdf5(path, what) as file:
            try:
                parameters, sums = read_relations(file)
            except BROKEN as error:
                raise DataError(f"{path}: expected {what} ({' '.join(str(error).split())})") from error
        order = make_embedder(self.graph, self.published.model).relation_parameters()
        return parameters, dict(zip(order, sums or [], strict=False))

    def take(self, kind: EntityType, rows: NDArray[np.int64], vectors: Tensor, sums: Tensor, share: float) -> None:
        """Fills vectors (n, D) and a `share` of sums (n,) where `rows` (n,), counted through the type's partitions, are
        not -1."""
        first, directory = 0, self.published.model_dir
        counts = next((each.counts for each in self.graph.entity_types if each.name == kind.name), ())
        version = Checkpoint(directory).version
        for partition, count in enumerate(counts):
            here = np.flatnonzero((rows >= first) & (rows < first + count))
            if len(here):
                found, kept = _read(directory / f"embeddings_{kind.name}_{partition}.v{version}.h5")
                require_finite(found.numpy(), self.published.graph_dir, kind, partition, 0)
                at = torch.from_numpy(rows[here] - first)
                vectors[torch.from_numpy(here)] = found[at]
                if kept is not None:
                    sums[torch.from_numpy(here)] = share * kept[at]
            first += count


def _read(path: Path) -> tuple[Tensor, Tensor | None]:
    """Vectors (n, D) and, where kept, sums (n,) of a file of a partition."""
    with open_hdf5(path, "a file of a checkpoint") as file:
        try:
            return torch.from_numpy(vectors_in(file)[...]), read_row_sums(file)
        except BROKEN as error:
            raise DataError(f"{path}: expected vectors of a checkpoint ({' '.join(str(error).split())})") from error


class _Start:
    """What version 0 is made of, step by step."""

    def __init__(
        self, graph_dir: Path, graph: Graph, model: ModelConfig, former: Former, destination: Path
    ) -> None:  # fmt: skip
        self._graph_dir, self._graph, self._model, self._former = graph_dir, graph, model, former
        self._destination, self._writer = destination, StartWriter(destination)
        self._typical: dict[str, Typical] = {}  # by type

    def relations(self) -> list[dict[str, NDArray[np.float32]]]:
        """Writes the relations; returns their parameters by name."""
        found, kept = self._former.relations()
        parameters = make_embedder(self._graph, self._model).relation_parameters()
        sums = {key: torch.zeros_like(values.data) for key, values in parameters.items()}
        for index, name in parameters:
            theirs = self._former.index.get(self._graph.relations[index].name, -1), name
            if theirs in found and found[theirs].shape == parameters[index, name].shape:
                parameters[index, name].data.copy_(found[theirs])
                if theirs in kept:
                    held = self._frozen.relations if self._frozen else ()
                    share = 1.0 if self._graph.relations[index].name in held else SUMS_KEPT
                    sums[index, name] = share * kept[theirs]
        named = {f"{PREFIX}.{index}.{name}": values.data for (index, name), values in parameters.items()}
        self._writer.relations(named, list(sums.values()), self._model.relation_lr)
        return [
            {name: values.data.numpy() for (at, name), values in parameters.items() if at == index}
            for index in range(len(self._graph.relations))
        ]

    def known(self, kind: EntityType, rows: list[NDArray[np.int64]]) -> None:
        """Writes a type's partitions: what is known, and random values for the rest."""
        random, found = random_initial(self._graph, self._model), []
        for partition, of_partition in enumerate(rows):
            vectors, sums = torch.empty(len(of_partition), self._model.dimension), torch.empty(len(of_partition))
            random.fill(kind.name, partition, vectors, sums)
            share = 1.0 if self._frozen and kind.name in self._frozen.types else SUMS_KEPT
            self._former.take(kind, of_partition, vectors, sums, share)
            old = vectors[torch.from_numpy(of_partition >= 0)]
            found.append((len(old), Typical.of(old.numpy(), self._model)))
            self._writer.partition(kind.name, partition, vectors, sums, self._model.lr)
        known = max(1, sum(count for count, _ in found))
        means = (sum(count * getattr(one, name) for count, one in found) / known for name in ("length", "first"))
        self._typical[kind.name] = Typical(*means)

    @property
    def _frozen(self) -> FreezeConfig | None:
        """What stays as it is, and so keeps its sums whole."""
        return self._model.freeze

    def new(self, rows: Rows, parameters: list[dict[str, NDArray[np.float32]]]) -> int:
        """Puts the new entities where their edges say; returns how many."""
        known = {(name, partition): part >= 0 for name, parts in rows.items() for partition, part in enumerate(parts)}
        heard = known
        for _ in range(ROUNDS):
            solving = NewEntities(
                self._graph_dir, self._graph, self._model, heard, self._table, dict(enumerate(parameters))
            )
            shutil.rmtree(self._aside, ignore_errors=True)  # a kill may have left part of it
            self._aside.mkdir()
            placed = {}
            for kind in self._graph.entity_types:
                for partition in range(kind.partitions):
                    new = ~known[kind.name, partition]
                    placed[kind.name, partition] = self._solved(solving, kind, partition, new) if new.any() else new
            self._take()  # once all are solved: each of a round hears what the round before has said
            heard = {place: known[place] | placed[place] for place in known}
        return sum(int(part.sum()) for part in placed.values())

    def _solved(
        self, solving: NewEntities, kind: EntityType, partition: int, new: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Keeps aside what is solved of the `new` (n,) entities of a partition; returns which these are."""
        offsets, solutions = solving.solve(kind, partition, new)
        constant = kind.name in constant_types(self._graph.relations, self._model)
        placed = fitted(solutions, self._typical[kind.name], self._model, constant)
        np.savez(self._aside / f"{kind.name}_{partition}.npz", offsets=offsets, vectors=placed)
        return np.isin(np.arange(len(new)), offsets)

    @property
    def _aside(self) -> Path:
        return self._destination / "placed"

    def _take(self) -> None:
        """Writes what was kept aside."""
        for path in self._aside.glob("*.npz"):
            entity, _, partition = path.stem.rpartition("_")
            vectors, sums = _read(self._path(entity, int(partition)))
            with np.load(path) as placed:
                vectors[torch.from_numpy(placed["offsets"])] = torch.from_numpy(placed["vectors"])
            self._writer.partition(entity, int(partition), vectors, sums, self._model.lr)
        shutil.rmtree(self._aside)

    def _table(self, entity: str, partition: int) -> NDArray[np.float32]:
        return _read(self._path(entity, partition))[0].numpy()

    def _path(self, entity: str, partition: int) -> Path:
        return self._destination / f"embeddings_{entity}_{partition}.v{START}.h5"
