"""One model put to one set of questions: which vectors, views and candidates meet, direction by direction."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from artifacts.graph import Side
from pbg_transra.config import EvaluateConfig, ModelConfig
from pbg_transra.evaluation.entity_vectors import Entities
from pbg_transra.evaluation.known_answers import Direction, KnownAnswers
from pbg_transra.evaluation.questions import Questions
from pbg_transra.evaluation.ranking import CANDIDATES, Group, Ranks, make_group, rank_direction, workers
from pbg_transra.evaluation.views import Views, relation_views

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Evaluation:
    """A checkpoint's entities and the questions they are to answer."""

    entities: Entities
    questions: Questions
    model: ModelConfig
    config: EvaluateConfig

    def protocol(self) -> str:
        """Returns in one line how the ranks came about."""
        asked, available, seed = len(self.questions.test.relation), self.questions.available, self.config.seed
        triples = f"all {asked}" if asked == available else f"{asked} of {available}, drawn with seed {seed},"
        drawn = self.config.candidates
        candidates = f"{drawn} entities drawn with seed {seed} (all, if fewer)" if drawn else "all entities"
        return (
            f"{triples} {self.config.split} triples, both sides, ranked among {candidates} of the type, "
            "filtered by train+valid+test, ties at their mean rank"
        )

    def trained_views(self) -> dict[int, Views]:
        """Returns the views of every relation that is asked about."""
        graph, checkpoint, dtype = self.entities.graph, self.entities.checkpoint, self.entities.dtype
        found = np.unique(self.questions.test.relation).tolist()
        return {index: relation_views(graph, index, checkpoint, self.model, dtype) for index in found}

    def ranks(self, views: dict[int, Views] | None, progress: Progress) -> dict[Side, Ranks]:
        """Returns the ranks of all T test triples by side, through `views` or, without, by plain similarity."""
        count = len(self.questions.test.relation)
        sides = {side: Ranks(*(np.zeros(count, np.int64) for _ in range(3))) for side in Side}
        what = "anchor retrieval" if views is None else "evaluate"
        with workers() as pool:
            for direction, known in self.questions.directions:
                tell = partial(progress, f"{what}: {direction.entity_type} as {direction.side}")
                groups = list(pool.map(lambda make: make(), self._groups(direction, views)))
                sides[direction.side].put_(direction.triples, self._ranked(direction, known, groups, pool, tell))
        return sides

    def _ranked(
        self,
        direction: Direction,
        known: KnownAnswers,
        groups: list[Group],
        pool: Executor,
        progress: Callable[[float], None],
    ) -> Ranks:
        name, drawn = direction.entity_type, self.config.candidates
        count = self.entities.count(name)
        if drawn is None or drawn >= count:
            return rank_direction(known, self.entities.blocks(name), count, groups, pool, progress)
        rows = np.sort(np.random.default_rng(self.config.seed).choice(count, drawn, replace=False))
        sample = iter([(0, self.entities.gather(name, rows))])
        return rank_direction(known.among(rows), sample, drawn, groups, pool, progress)

    def _groups(self, direction: Direction, views: dict[int, Views] | None) -> Iterator[Callable[[], Group]]:
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
                yield partial(make_group, part, queries, answers, *both, self.model.similarity)

    def _query_vectors(self, direction: Direction) -> Tensor:
        """Returns the vectors that T triples ask from, (T, D); their types may differ from relation to relation."""
        types = np.array([relation.type(direction.side.other) for relation in self.entities.graph.relations])[
            direction.relation
        ]
        vectors = torch.empty(len(types), self.model.dimension, dtype=self.entities.dtype)
        for name in np.unique(types):
            vectors[types == name] = self.entities.gather(str(name), direction.query[types == name])
        return vectors
