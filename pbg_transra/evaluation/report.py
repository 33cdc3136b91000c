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

from artifacts.graph import Graph, load_graph
from pbg_transra.config import EvaluateConfig, ModelConfig
from pbg_transra.evaluation.entity_vectors import Entities
from pbg_transra.evaluation.evaluation import Evaluation, Progress
from pbg_transra.evaluation.metrics import by_side
from pbg_transra.evaluation.questions import load_questions, rankable, untrained
from pbg_transra.evaluation.retrieval import retrieval
from pbg_transra.pbg.checkpoint import Checkpoint


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
            **retrieval(questions.graph, questions.test, evaluation.ranks(None, progress), ks),
        },
    }


class Validator:
    """Asks the same sample of the validation split after one epoch and the next; the edges are read only once."""

    def __init__(self, graph_dir: Path, model: ModelConfig) -> None:
        """Raises DataError for a split with nothing to rank."""
        self._graph_dir, self._model = graph_dir, model
        self._config = EvaluateConfig(split="valid", max_edges=model.validation_edges, seed=model.seed)
        self._questions = load_questions(graph_dir, load_graph(graph_dir), self._config)

    def mrr(self, model_dir: Path) -> float:
        """Returns the MRR of the committed checkpoint, both sides together."""
        entities = _entities(self._graph_dir, self._questions.graph, model_dir, self._model, torch.float32)
        evaluation = Evaluation(entities, self._questions, self._model, self._config)
        ranks = evaluation.ranks(evaluation.trained_views(), lambda label, fraction: None)
        return float(by_side(ranks, slice(None), self._config.ks)["mrr"])


def validation(graph_dir: Path, model: ModelConfig) -> Callable[[Path], float] | None:
    """What tells the MRR of a checkpoint; None where `model` asks for none, and where there is nothing to rank."""
    wanted = model.validate_every is not None and rankable(load_graph(graph_dir), "valid")
    return Validator(graph_dir, model).mrr if wanted else None


def _entities(graph_dir: Path, graph: Graph, model_dir: Path, model: ModelConfig, dtype: torch.dtype) -> Entities:
    checkpoint = Checkpoint(model_dir)
    checkpoint.require_fits(graph, model.dimension)
    return Entities(graph_dir, graph, checkpoint, dtype)
