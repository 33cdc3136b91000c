"""Where the edges of a new entity put it: the closed form for its first vector.

With left(x) = L x + l and right(x) = R x + c the views of a relation, an edge (h, t) says of its tail that R t + c
should be L h + l, and of its head that L h + l should be R t + c. A new entity begins at the least-squares solution of
what its training edges with known entities say, with a small ridge:

    (sum_e w_e A_e' A_e + ridge W I) x = sum_e w_e A_e' (q_e - a_e)        W = sum_e w_e

A_e, a_e is the view on its own side, q_e the other end's view, w_e the edge's weight times the relation's. Where all
relations are anchors that is the mean of its neighbours, moved by translations. Under cos each q_e has length 1; under
cos and dot the solution gets the mean length of the known entities of its type, since what it says there is a
direction. Ends that are new themselves say nothing at first; once all are placed, all are placed again, and hear those,
too: where items live for hours, as news, most of what a new person does is with items as new as they are.

The matrix on the left, divided by W, depends on the shares of W that each relation and side has, and not on vectors:
it is inverted once for all entities with the same shares, which are few where edges have no weights. Relations that
do not turn their side, as anchors, are one.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import embedding_bag

from artifacts.formats.bucket_file import BucketFile
from artifacts.formats.graph import Bucket, EntityType, Graph, Side, bucket_path
from pbg_transra.backends.tail_bias import CONSTANT
from pbg_transra.config import ModelConfig
from pbg_transra.pbg.operators import operator_name
from pbg_transra.pbg.views import View, operator_views

Array = NDArray[Any]
RIDGE = 1e-3
ROUNDS = 2  # in the second one those that the first has placed are heard, too
CHUNK = 1 << 17  # edges in hand at once
SOLVED_TOGETHER = 1 << 24  # numbers in the matrices of a block of entities
NORMED = ("cos", "dot")  # similarities under which a solution is a direction
SMALLEST = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Affine:
    """x -> x matrix' + offset, of vectors (B, D)."""

    matrix: Array
    offset: Array

    def __call__(self, vectors: Array) -> Array:
        return np.asarray(vectors @ self.matrix.T + self.offset)


def affine(view: View | None, dimension: int) -> Affine:
    """A view as a matrix (D, D) and an offset (D,): all operators are affine. None is the identity."""
    if view is None:
        return Affine(np.eye(dimension, dtype=np.float32), np.zeros(dimension, np.float32))
    offset = view(torch.zeros(1, dimension))
    return Affine((view(torch.eye(dimension)) - offset).T.numpy(), offset[0].numpy())


@dataclass(frozen=True)
class NewEntities:
    """`known` tells of each type and partition which entities have a vector that says something, (n,) bool; `table`
    reads the vectors (n, D) of a type's partition. `parameters`: by name, of the relations that tell something."""

    graph_dir: Path
    graph: Graph
    model: ModelConfig
    known: dict[tuple[str, int], NDArray[np.bool_]]
    table: Callable[[str, int], Array]
    parameters: Mapping[int, dict[str, Array]]

    def solve(self, kind: EntityType, partition: int, new: NDArray[np.bool_]) -> tuple[Array, Array]:
        """Returns offsets (M,) of those of a partition that are `new` (n,) and have an edge with a known one, and their
        solutions (M, D), not yet of any length."""
        place = np.where(new, np.cumsum(new) - 1, -1)
        ends = [(relation, side) for relation in self.parameters for side in Side
                if self.graph.relations[relation].type(side) == kind.name]  # fmt: skip
        right = np.zeros((int(place.max(initial=-1)) + 1, self.model.dimension), np.float32)
        weights = np.zeros((len(right), len(ends)), np.float32)
        grams = np.empty((len(ends), self.model.dimension**2), np.float32)
        for column, (relation, side) in enumerate(ends):
            own, other = self._views(relation, side)
            grams[column] = (own.matrix.T @ own.matrix).ravel()
            said = np.zeros_like(right)
            for edges in self._edges(kind, partition, place, relation, side, other):
                edges.add(said, weights[:, column])
            right += (said - weights[:, column, None] * own.offset) @ own.matrix
        placed = weights.sum(1) > 0
        return np.flatnonzero(place >= 0)[placed], _solutions(grams, weights[placed], right[placed])

    def _views(self, index: int, side: Side) -> tuple[Affine, Affine]:
        """The view of a relation on a side, and that on the other one."""
        name = operator_name(self.model, self.graph.relations[index])
        views = operator_views(name, self.model.dimension, self.parameters[index], torch.float32)
        left, right = (affine(view, self.model.dimension) for view in views)
        return side.pick(left, right), side.pick(right, left)

    def _edges(
        self, kind: EntityType, partition: int, place: Array, index: int, side: Side, other: Affine
    ) -> "Iterator[_Edges]":
        """Yields edges of new entities with known ones."""
        relation = self.graph.relations[index]
        far = self.graph.entity_type(relation.type(side.other))
        factor = self.model.relation_weights.get(relation.name, 1.0)
        for bucket in self.graph.buckets():
            if kind.partition_in(side.pick(*bucket)) != partition:
                continue
            far_partition = far.partition_in(side.other.pick(*bucket))
            known, table = self.known[far.name, far_partition], None
            for mine, theirs, weight in self._of_relation(bucket, index, side):
                chosen = (place[mine] >= 0) & known[theirs]
                if chosen.any():
                    table = self.table(far.name, far_partition) if table is None else table
                    ends, which = np.unique(theirs[chosen], return_inverse=True)
                    says = self._compared(other(table[ends]))
                    yield _Edges(place[mine[chosen]], which, says, weight[chosen] * np.float32(factor))

    def _of_relation(self, bucket: Bucket, index: int, side: Side) -> Iterator[tuple[Array, Array, Array]]:
        """Yields offsets on the side and on the other one, and weights, of the edges of a relation, (E,) each."""
        with BucketFile(bucket_path(self.graph_dir, "train", bucket)) as file:
            for start in range(0, len(file), CHUNK):
                columns, weights = file.columns(start, start + CHUNK), file.weights(start, start + CHUNK)
                of = columns.rel == index
                if of.any():
                    mine, theirs = side.pick(columns.lhs, columns.rhs), side.pick(columns.rhs, columns.lhs)
                    weight = np.ones(len(of), np.float32) if weights is None else weights
                    yield mine[of], theirs[of], weight[of]

    def _compared(self, vectors: Array) -> Array:
        """Vectors (U, D) as the similarity compares them: by direction alone where it is cos."""
        if self.model.similarity != "cos":
            return vectors
        return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), SMALLEST))


@dataclass(frozen=True)
class _Edges:
    """Edges of new entities: places of these (E,), which of the far ends each leads to (E,), what those say (U, D), and
    weights (E,)."""

    places: Array
    which: Array
    says: Array
    weights: Array

    def add(self, said: Array, total: Array) -> None:
        """Adds what each new entity is told to `said` (M, D), and the weight of that to `total` (M,), in place; always
        in the same order."""
        order = np.argsort(self.places, kind="stable")
        rows, starts = np.unique(self.places[order], return_index=True)
        which, weights = torch.from_numpy(self.which[order]), self.weights[order]
        says, bags = torch.from_numpy(np.ascontiguousarray(self.says, np.float32)), torch.from_numpy(starts)
        sums = embedding_bag(which, says, bags, mode="sum", per_sample_weights=torch.from_numpy(weights))
        said[rows] += sums.numpy()
        total[rows] += np.add.reduceat(weights, starts)


def _solutions(grams: Array, weights: Array, right: Array) -> Array:
    """Solves M systems: matrices (K, D * D) and their weights (M, K) in each, right-hand sides (M, D)."""
    found, dimension = np.empty_like(right), right.shape[1]
    if not len(right):
        return found
    kinds, kind = np.unique(grams, axis=0, return_inverse=True)
    merged = np.zeros((len(weights), len(kinds)), np.float32)
    for column, into in enumerate(kind.ravel()):
        merged[:, into] += weights[:, column]
    total = merged.sum(1, keepdims=True)
    shares, share = np.unique(merged / total, axis=0, return_inverse=True)
    order = np.argsort(share.ravel(), kind="stable")
    starts = np.searchsorted(share.ravel()[order], np.arange(len(shares) + 1))
    block = max(1, SOLVED_TOGETHER // dimension**2)
    for first in range(0, len(shares), block):
        part = shares[first : first + block]
        matrices = torch.from_numpy(part @ kinds).view(-1, dimension, dimension) + RIDGE * torch.eye(dimension)
        for place, inverse in enumerate(torch.linalg.inv(matrices).numpy(), first):
            rows = order[starts[place] : starts[place + 1]]
            found[rows] = (right[rows] / total[rows]) @ inverse.T
    return found


@dataclass(frozen=True)
class Typical:
    """Of the known entities of a type: their mean length, without a bias, and the mean of their first components."""

    length: float
    first: float

    @classmethod
    def of(cls, vectors: Array, model: ModelConfig) -> "Typical":
        """Of vectors (N, D)."""
        lengths = np.linalg.norm(_free(vectors, model), axis=1)
        return cls(float(lengths.mean()), float(vectors[:, 0].mean())) if len(vectors) else cls(0.0, 0.0)


def fitted(solutions: Array, typical: Typical, model: ModelConfig, constant: bool) -> Array:
    """Solutions (M, D) with the length of their type, where only their direction counts, and with a bias, or, where the
    type has that, its `constant`."""
    if model.similarity in NORMED and typical.length > 0:
        lengths = np.linalg.norm(_free(solutions, model), axis=1, keepdims=True)
        solutions = solutions * (typical.length / np.maximum(lengths, SMALLEST))
    if model.tail_bias:
        solutions[:, 0] = CONSTANT if constant else typical.first
    return solutions


def _free(vectors: Array, model: ModelConfig) -> Array:
    """Vectors without a bias and its constant."""
    return vectors[:, 1:] if model.tail_bias else vectors
