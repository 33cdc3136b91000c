"""The test triples of an evaluation, and what the graph's edges say about them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from artifacts.errors import DataError
from artifacts.formats.graph import SPLITS, Graph, Side
from pbg_transra.config import EvaluateConfig
from pbg_transra.evaluation.global_edges import Edges, Rows, edge_blocks, load_edges
from pbg_transra.evaluation.known_answers import Direction, KnownAnswers, KnownAnswersBuilder, directions

Degrees = dict[str, NDArray[np.int32]]


@dataclass(frozen=True)
class Questions:
    """T test triples out of `available`, and their directions with the known answers.

    degrees:    training edges of each entity by type, (entities,): four bytes an entity
    loopless:   (R,) relations within one type without a loop (u, u) among their training edges
    """

    graph: Graph
    test: Edges
    available: int
    directions: list[tuple[Direction, KnownAnswers]]
    degrees: Degrees
    loopless: NDArray[np.bool_]

    def both_warm(self) -> NDArray[np.bool_]:
        """Returns which triples have a training edge at both ends, (T,)."""
        warm = np.ones(len(self.test.relation), bool)
        for _, name, mask, rows in _ends(self.graph, self.test):
            warm[mask] &= self.degrees[name][rows] > 0
        return warm

    def ends(self) -> dict[str, dict[str, int]]:
        """Returns by type how many ends of the triples are of it, and how many of those have no training edge."""
        found: dict[str, dict[str, int]] = {}
        for _, name, mask, rows in _ends(self.graph, self.test):
            counted = found.setdefault(name, {"ends": 0, "untrained": 0})
            counted["ends"] += int(mask.sum())
            counted["untrained"] += int((self.degrees[name][rows] == 0).sum())
        return {name: counted for name, counted in found.items() if counted["ends"]}

    def answer_degrees(self, side: Side) -> Rows:
        """Returns the training edges of the entities asked for, when `side` is missing, (T,)."""
        found = np.zeros(len(self.test.relation), np.int64)
        for at, name, mask, rows in _ends(self.graph, self.test):
            if at is side:
                found[mask] = self.degrees[name][rows]
        return found


def rankable(graph: Graph, split: str, relations: Sequence[int] | None = None) -> int:
    """Edges of a split, of some relations or of all, whose relation training has seen: others have no parameters."""
    asked = range(len(graph.relations)) if relations is None else relations
    return sum(graph.relations[index].edges[split] for index in asked if graph.relations[index].edges["train"])


def untrained(graph: Graph, split: str) -> dict[str, int]:
    """Edges of a split by relation, where training has not seen the relation."""
    return {r.name: r.edges[split] for r in graph.relations if r.edges[split] and not r.edges["train"]}


def load_questions(
    graph_dir: Path, graph: Graph, config: EvaluateConfig, relations: Sequence[int] | None = None
) -> Questions:
    """Reads every edge once; triples of relations that training knows nothing of are left out (see `rankable`).

    Of `relations`, where given, either all edges of a head are asked or none. Raises DataError for a graph without
    training edges, and for one that has nothing to rank.
    """
    if not graph.edges("train"):
        raise DataError(f"{graph_dir}: no entity has a training edge; expected a graph to train on")
    every = load_edges(graph_dir, graph, config.split)
    trained = np.array([bool(relation.edges["train"]) for relation in graph.relations])
    every = every.take(np.flatnonzero(trained[every.relation]))
    test = _sampled(every, config) if relations is None else _sampled_heads(every, config, relations)
    found = directions(graph, test)
    builders = [KnownAnswersBuilder(graph, direction) for direction in found]
    degrees = {kind.name: np.zeros(kind.count, np.int32) for kind in graph.entity_types}
    loopless = np.array([relation.lhs == relation.rhs for relation in graph.relations])
    for split in SPLITS:
        for block in edge_blocks(graph_dir, graph, split):
            for builder in builders:
                builder.add(block)
            if split == "train":
                _count_(degrees, graph, block)
                loops = (block.head == block.tail) & loopless[block.relation]
                loopless[block.relation[loops]] = False
    known = [builder.build(loopless) for builder in builders]
    return Questions(graph, test, len(every.relation), list(zip(found, known, strict=True)), degrees, loopless)


def _sampled(test: Edges, config: EvaluateConfig) -> Edges:
    if config.max_edges is None or len(test.relation) <= config.max_edges:
        return test
    chosen = np.random.default_rng(config.seed).choice(len(test.relation), config.max_edges, replace=False)
    return test.take(np.sort(chosen))


def _sampled_heads(every: Edges, config: EvaluateConfig, relations: Sequence[int]) -> Edges:
    """Edges of some relations, of as many heads as stay within `max_edges`, but of one at least."""
    edges = every.take(np.flatnonzero(np.isin(every.relation, relations)))
    if config.max_edges is None or len(edges.relation) <= config.max_edges:
        return edges
    _, question, counts = np.unique(
        np.stack([edges.relation, edges.head]), axis=1, return_inverse=True, return_counts=True
    )
    order = np.random.default_rng(config.seed).permutation(len(counts))
    inside = np.zeros(len(counts), bool)
    inside[order[: max(1, np.searchsorted(np.cumsum(counts[order]), config.max_edges, side="right"))]] = True
    return edges.take(np.flatnonzero(inside[question.reshape(-1)]))


def tails_of(questions: Questions) -> Questions:
    """Returns only the questions for tails."""
    asked = [(direction, known) for direction, known in questions.directions if direction.side is Side.RHS]
    return replace(questions, directions=asked)


def _count_(degrees: Degrees, graph: Graph, edges: Edges) -> None:
    """Counts both ends of every edge in `degrees`."""
    for _, name, _, rows in _ends(graph, edges):
        np.add.at(degrees[name], rows, 1)


def _ends(graph: Graph, edges: Edges) -> Iterator[tuple[Side, str, NDArray[np.bool_], Rows]]:
    """Yields side and type, which of E edges have the type there, (E,), and the rows of those ends."""
    for side in Side:
        rows = side.pick(edges.head, edges.tail)
        types = np.array([relation.type(side) for relation in graph.relations])
        for name in np.unique(types):
            mask = (types == name)[edges.relation]
            yield side, str(name), mask, rows[mask]
