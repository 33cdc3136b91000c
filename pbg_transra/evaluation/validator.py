"""What a training is told by: the same sample of the validation split, ranked after one epoch and the next."""

from collections.abc import Callable
from pathlib import Path

import torch

from artifacts.formats.graph import Graph, Side, load_graph
from pbg_transra.config import EvaluateConfig, ModelConfig
from pbg_transra.evaluation.entity_vectors import open_entities
from pbg_transra.evaluation.evaluation import Evaluation
from pbg_transra.evaluation.metrics import by_side
from pbg_transra.evaluation.per_query import list_metrics
from pbg_transra.evaluation.questions import load_questions, rankable, tails_of


class Validator:
    """Asks the same sample of the validation split after one epoch and the next; the edges are read only once.

    What it measures is `model.validate_by`.
    """

    def __init__(self, graph_dir: Path, model: ModelConfig) -> None:
        """Raises DataError for a split with nothing to rank."""
        self._graph_dir, self._model = graph_dir, model
        self._config = EvaluateConfig(split="valid", max_edges=model.validation_edges, seed=model.seed)
        graph = load_graph(graph_dir)
        asked = retrieved(graph, model)
        questions = load_questions(graph_dir, graph, self._config, asked)
        self._questions = questions if asked is None else tails_of(questions)

    def measure(self, model_dir: Path) -> float:
        """Returns what the committed checkpoint is chosen by."""
        entities = open_entities(self._graph_dir, self._questions.graph, model_dir, self._model, torch.float32)
        evaluation = Evaluation(entities, self._questions, self._model, self._config)
        return self._mrr(evaluation) if self._model.validate_by == "mrr" else self._recall(evaluation)

    def _mrr(self, evaluation: Evaluation) -> float:
        """Of link prediction, both sides together."""
        ranks = evaluation.ranks(evaluation.trained_views(), lambda label, fraction: None).ranks
        return float(by_side(ranks, slice(None), self._config.ks)["mrr"])

    def _recall(self, evaluation: Evaluation) -> float:
        """Of the anchors' tails by plain similarity, the mean over all heads."""
        test, k = self._questions.test, self._config.retrieval_k
        ranks = evaluation.ranks(None, lambda label, fraction: None).ranks[Side.RHS]
        stride = max(kind.count for kind in self._questions.graph.entity_types)
        return float(list_metrics(test.relation * stride + test.head, test.tail, ranks, k)[f"recall@{k}"])


def validation(graph_dir: Path, model: ModelConfig) -> Callable[[Path], float] | None:
    """What tells the score of a checkpoint; None where `model` asks for none, and where there is nothing to rank."""
    graph = load_graph(graph_dir)
    wanted = model.validate_every is not None and rankable(graph, "valid", retrieved(graph, model))
    return Validator(graph_dir, model).measure if wanted else None


def retrieved(graph: Graph, model: ModelConfig) -> list[int] | None:
    """Indices of the relations whose tails a validation by retrieval looks for; None: it ranks all, both sides."""
    if model.validate_by == "mrr":
        return None
    names = model.anchors or [relation.name for relation in graph.relations]
    return [index for index, relation in enumerate(graph.relations) if relation.name in names]
