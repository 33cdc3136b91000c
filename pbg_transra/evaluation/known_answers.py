"""What is known to be true, so that no triple is ranked behind another true one.

Only the answers to questions that are asked are kept: memory grows with them, not with the graph.

A relation within one type whose training edges hold no loop (u, u) is taken to allow none: the entity that a question
is asked from is no candidate then (`Questions.loopless`). By similarity it would often come first.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from artifacts.formats.graph import Graph, Side
from pbg_transra.evaluation.global_edges import Edges, Rows


@dataclass(frozen=True)
class Direction:
    """The triples whose missing side, `side`, is an entity of one type: they share their candidates.

    relation, query, answer: (T,) the question (relation, row asked from) and the row asked for; `triples`, (T,), are
    their places in the list of all test triples.
    """

    side: Side
    entity_type: str
    triples: Rows
    relation: Rows
    query: Rows
    answer: Rows


def directions(graph: Graph, test: Edges) -> list[Direction]:
    """Returns test triples by missing side and its type."""
    found = []
    for side in Side:
        types = np.array([relation.type(side) for relation in graph.relations])
        query, answer = _question(test, side)
        for entity_type in sorted(set(types[test.relation])):
            triples = np.flatnonzero(types[test.relation] == entity_type)
            columns = (test.relation[triples], query[triples], answer[triples])
            found.append(Direction(side, str(entity_type), triples, *columns))
    return found


def _question(edges: Edges, side: Side) -> tuple[Rows, Rows]:
    """Returns the rows asked from and the rows asked for, each (E,), when `side` is missing."""
    return side.pick((edges.tail, edges.head), (edges.head, edges.tail))


@dataclass(frozen=True)
class KnownAnswers:
    """The true answers to the Q different questions of T triples, as numbers of candidates.

    question:   (T,) the question that each triple asks, in [0, Q)
    answers:    (K,) ascending and unique: question * stride + candidate
    stride:     more than any candidate's number
    barred:     (Q,) whether the entity asked from is among the answers though no edge says so
    """

    question: Rows
    answers: Rows
    stride: int
    barred: NDArray[np.bool_]

    def counts(self, triples: Rows) -> Rows:
        """Returns the number of known answers to each of B triples, (B,)."""
        first, last = self._span(triples, 0, self.stride)
        return last - first

    def between(self, triples: Rows, start: int, stop: int) -> tuple[Rows, Rows]:
        """Returns the known answers to B triples among the candidates [start, stop), as pairs of indices.

        The first array points into `triples`, the second counts from `start`; both have one entry per known answer.
        """
        first, last = self._span(triples, start, stop)
        lengths = last - first
        index = np.repeat(np.arange(len(triples)), lengths)
        places = np.arange(len(index)) + (first - np.cumsum(lengths) + lengths)[index]
        return index, self.answers[places] % self.stride - start

    def _span(self, triples: Rows, start: int, stop: int) -> tuple[Rows, Rows]:
        base = self.question[triples] * self.stride
        return np.searchsorted(self.answers, base + start), np.searchsorted(self.answers, base + stop)

    def among(self, candidates: Rows) -> "KnownAnswers":
        """Numbers answers by their place in `candidates` (C,), ascending rows; those that are not there are dropped."""
        question, row = np.divmod(self.answers, self.stride)
        place = np.minimum(np.searchsorted(candidates, row), len(candidates) - 1)
        inside = candidates[place] == row
        return replace(self, answers=(question * self.stride + place)[inside])


class KnownAnswersBuilder:
    """Collects the true answers to the questions of one direction from a stream of edges."""

    def __init__(self, graph: Graph, direction: Direction) -> None:
        self._side = direction.side
        self._stride = max(entity_type.count for entity_type in graph.entity_types) + 1
        self._relations = np.isin(np.arange(len(graph.relations)), direction.relation)
        key = direction.relation * self._stride + direction.query
        self._keys, self._question = np.unique(key, return_inverse=True)
        self._found: list[Rows] = []

    def add(self, edges: Edges) -> None:
        mask = self._relations[edges.relation]
        query, answer = (rows[mask] for rows in _question(edges, self._side))
        key = edges.relation[mask] * self._stride + query
        question = np.minimum(np.searchsorted(self._keys, key), len(self._keys) - 1)
        asked = self._keys[question] == key
        self._found.append(question[asked] * self._stride + answer[asked])

    def build(self, loopless: NDArray[np.bool_]) -> KnownAnswers:
        """`loopless`, (R,): relations whose questions must not be answered by the entity they are asked from."""
        relation, query = np.divmod(self._keys, self._stride)
        known = np.unique(np.concatenate(self._found))
        itself = np.arange(len(query)) * self._stride + query
        barred = loopless[relation] & ~np.isin(itself, known)
        answers = np.union1d(known, itself[barred])
        return KnownAnswers(self._question.reshape(-1), answers, self._stride, barred)
