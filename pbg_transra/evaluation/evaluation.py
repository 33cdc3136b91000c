"""One model put to one set of questions: which vectors, views and candidates meet, direction by direction."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from artifacts.formats.graph import Side
from pbg_transra.config import EvaluateConfig, ModelConfig
from pbg_transra.evaluation.entity_vectors import Entities
from pbg_transra.evaluation.known_answers import Direction, KnownAnswers
from pbg_transra.evaluation.questions import Questions
from pbg_transra.evaluation.ranking import (
    CANDIDATES,
    Group,
    Ranks,
    make_group,
    own_entity_allowed,
    rank_direction,
    workers,
)
from pbg_transra.evaluation.views import Views, relation_views

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Answered:
    """The ranks of all T test triples by side, and what they would be with no entity barred (see known_answers.py)."""

    ranks: dict[Side, Ranks]
    own_entity_allowed: dict[Side, Ranks]


@dataclass(frozen=True)
class Evaluation:
    """A checkpoint's entities and the questions they are to answer."""

    entities: Entities
    questions: Questions
    model: ModelConfig
    config: EvaluateConfig

    def protocol(self, drawn: int | None = None) -> str:
        """Returns in one line how the ranks came about; `drawn`: among so many candidates."""
        asked, available, seed = len(self.questions.test.relation), self.questions.available, self.config.seed
        triples = f"all {asked}" if asked == available else f"{asked} of {available}, drawn with seed {seed},"
        barred = len(self.barred())
        without = "1 relation" if barred == 1 else f"{barred} relations"
        own = f", the entity asked from barred in {without} without loops" if barred else ""
        candidates = f"{drawn} entities drawn with seed {seed} (all, if fewer)" if drawn else "all entities"
        return (
            f"{triples} {self.config.split} triples, both sides, ranked among {candidates} of the type, "
            f"filtered by train+valid+test{own}, ties at their mean rank"
        )

    def barred(self) -> list[str]:
        """Returns the relations asked about in which the entity asked from is no candidate."""
        asked = np.unique(self.questions.test.relation)
        relations = self.questions.graph.relations
        return [relations[index].name for index in asked[self.questions.loopless[asked]]]

    def trained_views(self) -> dict[int, Views]:
        """Returns the views of every relation that is asked about."""
        graph, checkpoint, dtype = self.entities.graph, self.entities.checkpoint, self.entities.dtype
        found = np.unique(self.questions.test.relation).tolist()
        return {index: relation_views(graph, index, checkpoint, self.model, dtype) for index in found}

    def ranks(self, views: dict[int, Views] | None, progress: Progress, drawn: int | None = None) -> Answered:
        """Returns the ranks of all T test triples, through `views` or, without, by plain similarity.

        `drawn`: among so many candidates of a type, if it has more. Plain similarity is of exported vectors.
        """
        asked = self if views is not None else self._of_exported()
        found = Answered(self._unranked(), self._unranked())
        what = "anchor retrieval" if views is None else "link prediction"
        with workers() as pool:
            for direction, known in self.questions.directions:
                tell = partial(progress, f"{what}, {direction.entity_type} as {direction.side}")
                groups = list(pool.map(lambda make: make(), asked._groups(direction, known, views)))
                ranks = asked._ranked(direction, known, groups, pool, tell, drawn)
                found.ranks[direction.side].put_(direction.triples, ranks)
                allowed = own_entity_allowed(ranks, known, groups)
                found.own_entity_allowed[direction.side].put_(direction.triples, allowed)
        return found

    def _of_exported(self) -> "Evaluation":
        return replace(self, entities=self.entities.exported(self.model, self.questions.degrees))

    def _unranked(self) -> dict[Side, Ranks]:
        count = len(self.questions.test.relation)
        return {side: Ranks(*(np.zeros(count, np.int64) for _ in range(3))) for side in Side}

    def _ranked(
        self,
        direction: Direction,
        known: KnownAnswers,
        groups: list[Group],
        pool: Executor,
        progress: Callable[[float], None],
        drawn: int | None,
    ) -> Ranks:
        name = direction.entity_type
        count = self.entities.count(name)
        if drawn is None or drawn >= count:
            return rank_direction(known, self.entities.blocks(name), count, groups, pool, progress)
        rows = np.sort(np.random.default_rng(self.config.seed).choice(count, drawn, replace=False))
        sample = iter([(0, self.entities.gather(name, rows))])
        return rank_direction(known.among(rows), sample, drawn, groups, pool, progress)

    def _groups(
        self, direction: Direction, known: KnownAnswers, views: dict[int, Views] | None
    ) -> Iterator[Callable[[], Group]]:
        """Yields what makes each group: triples of one relation, or any where no relation changes the vectors."""
        queries = self._query_vectors(direction)
        answers = self.entities.gather(direction.entity_type, direction.answer)
        relations = direction.relation if views else np.zeros_like(direction.relation)
        for relation in np.unique(relations).tolist():
            of_relation = views[relation] if views else Views()
            both = of_relation.queries(direction.side), of_relation.answers(direction.side)
            index = np.flatnonzero(relations == relation)
            for start in range(0, len(index), CANDIDATES):
                part = index[start : start + CANDIDATES]
                barred = bool(known.barred[known.question[part]].any())
                yield partial(make_group, part, barred, queries, answers, *both, self.model.similarity)

    def _query_vectors(self, direction: Direction) -> Tensor:
        """Returns the vectors that T triples ask from, (T, D); their types may differ from relation to relation."""
        types = np.array([relation.type(direction.side.other) for relation in self.entities.graph.relations])[
            direction.relation
        ]
        vectors = torch.empty(len(types), self.model.dimension, dtype=self.entities.dtype)
        for name in np.unique(types):
            vectors[types == name] = self.entities.gather(str(name), direction.query[types == name])
        return vectors
