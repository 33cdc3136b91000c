"""Every number about a trained model, as a tree that goes into metrics.json under `evaluate`.

    transra evaluate CONFIG

    protocol                            what the numbers below mean, in one line
    triples, mrr, hits@1, hits@3, hits@10, auc      both sides together
    lhs, rhs                            the same for one side: the head, or the tail, was to be found
    warm, cold                          the same for triples with a training edge at both ends, and for the others
    relations.<name>                    the same for one relation, with the protocol
    entities_without_edges.<type>       entities that no training edge touches
    anchor_retrieval                    see retrieval.py

    untrained_relations.<name>          triples that are left out, since training has not seen their relation

A set without triples has `triples: 0` and no metrics, and so has a split with nothing to rank. `auc` is null where no
triple has a false candidate, as in a type of one entity.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from artifacts.graph import Graph, Side, load_graph
from pbg_transra.config import EvaluateConfig, ModelConfig
from pbg_transra.evaluation.entity_vectors import Entities
from pbg_transra.evaluation.evaluation import Evaluation, Progress
from pbg_transra.evaluation.metrics import by_side
from pbg_transra.evaluation.per_query import list_metrics, per_query
from pbg_transra.evaluation.questions import load_questions, rankable, tails_of, untrained
from pbg_transra.evaluation.retrieval import retrieval
from pbg_transra.pbg.checkpoint import Checkpoint

PER_QUERY = (
    "by query: the share of its answers among the first {k}, and their NDCG; known answers of other splits are left out"
)


def evaluate(
    graph_dir: Path,
    model_dir: Path,
    model: ModelConfig,
    config: EvaluateConfig,
    progress: Progress,
    dtype: torch.dtype = torch.float32,
) -> dict[str, Any]:
    """Ranks the split's triples by the checkpoint in `model_dir` and returns the tree of metrics.

    `progress` is told a label and the fraction of that label's work done. Raises DataError for a graph
    without training edges, a checkpoint of another graph and a NaN.
    """
    graph = load_graph(graph_dir)
    left_out = untrained(graph, config.split)
    if graph.edges("train") and not rankable(graph, config.split):
        protocol = f"nothing to rank: the {config.split} split has no edges of relations that were trained on"
        return {"protocol": protocol, "split": config.split, "triples": 0, "untrained_relations": left_out}
    entities = _entities(graph_dir, graph, model_dir, model, dtype)
    questions, ks = load_questions(graph_dir, graph, config), config.ks
    evaluation = Evaluation(entities, questions, model, config)
    ranks = evaluation.ranks(evaluation.trained_views(), progress)
    relation, warm, protocol = questions.test.relation, questions.both_warm(), evaluation.protocol()
    plain = evaluation.ranks(None, progress)
    return {
        "protocol": protocol,
        "split": config.split,
        **by_side(ranks, slice(None), ks),
        "warm": by_side(ranks, warm, ks),
        "cold": by_side(ranks, ~warm, ks),
        "untrained_relations": left_out,
        "entities_without_edges": {name: int((~flags).sum()) for name, flags in questions.warm.items()},
        "relations": {
            questions.graph.relations[index].name: {"protocol": protocol, **by_side(ranks, relation == index, ks)}
            for index in np.unique(relation)
        },
        "anchor_retrieval": {
            "protocol": f"{model.similarity} of exported vectors, no projection; {protocol}",
            **retrieval(questions.graph, questions.test, plain, ks),
            "per_query": {
                "protocol": PER_QUERY.format(k=config.retrieval_k),
                "relations": per_query(questions.graph, questions.test, plain, config.retrieval_k),
            },
        },
    }


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
        entities = _entities(self._graph_dir, self._questions.graph, model_dir, self._model, torch.float32)
        evaluation = Evaluation(entities, self._questions, self._model, self._config)
        return self._mrr(evaluation) if self._model.validate_by == "mrr" else self._recall(evaluation)

    def _mrr(self, evaluation: Evaluation) -> float:
        """Of link prediction, both sides together."""
        ranks = evaluation.ranks(evaluation.trained_views(), lambda label, fraction: None)
        return float(by_side(ranks, slice(None), self._config.ks)["mrr"])

    def _recall(self, evaluation: Evaluation) -> float:
        """Of the anchors' tails by plain similarity, the mean over all heads."""
        test, k = self._questions.test, self._config.retrieval_k
        ranks = evaluation.ranks(None, lambda label, fraction: None)[Side.RHS]
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


def _entities(graph_dir: Path, graph: Graph, model_dir: Path, model: ModelConfig, dtype: torch.dtype) -> Entities:
    checkpoint = Checkpoint(model_dir)
    checkpoint.require_fits(graph, model.dimension)
    return Entities(graph_dir, graph, checkpoint, dtype)
