"""Every number about a trained model, as a tree that goes into metrics.json under `evaluate`.

    transra evaluate CONFIG

    protocol                            what the numbers below mean, in one line
    triples, mrr, hits@1, hits@3, hits@10, auc      both sides together
    lhs, rhs                            the same for one side: the head, or the tail, was to be found
    warm, cold                          the same for triples with a training edge at both ends, and for the others
    relations.<name>                    the same for one relation, with the protocol
    entities_without_edges.<type>       entities that no training edge touches
    ends.<type>                         ends of the triples of that type, and how many of them no training edge touches
    by_degree.<band>                    the same by the training edges of the entity asked for (bands.py)
    sampled                             the same among `evaluate.candidates` drawn ones, and what that flatters
    own_entity_barred                   relations in which the entity asked from is no candidate (known_answers.py)
    own_entity_allowed                  where there are some: the same with it as a candidate, as other libraries rank
    anchor_retrieval                    see retrieval.py

    untrained_relations.<name>          triples that are left out, since training has not seen their relation

A set without triples has `triples: 0` and no metrics, and so has a split with nothing to rank. `auc` is null where no
triple has a false candidate, as in a type of one entity.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from artifacts.formats.graph import Side, load_graph
from pbg_transra.config import EvaluateConfig, ModelConfig
from pbg_transra.evaluation.bands import by_degree
from pbg_transra.evaluation.entity_vectors import open_entities
from pbg_transra.evaluation.evaluation import Answered, Evaluation, Progress
from pbg_transra.evaluation.global_edges import Rows
from pbg_transra.evaluation.metrics import Metrics, by_side
from pbg_transra.evaluation.per_query import per_query
from pbg_transra.evaluation.questions import load_questions, rankable, untrained
from pbg_transra.evaluation.retrieval import retrieval
from pbg_transra.evaluation.sampled import sampled

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
    entities = open_entities(graph_dir, graph, model_dir, model, dtype)
    questions = load_questions(graph_dir, graph, config)
    evaluation = Evaluation(entities, questions, model, config)
    return {
        "protocol": evaluation.protocol(),
        "split": config.split,
        **_link_prediction(evaluation, progress),
        "untrained_relations": left_out,
        "ends": questions.ends(),
        "entities_without_edges": {name: int((counts == 0).sum()) for name, counts in questions.degrees.items()},
        "anchor_retrieval": _anchor_retrieval(evaluation, progress),
    }


def _link_prediction(evaluation: Evaluation, progress: Progress) -> Metrics:
    questions, config, views = evaluation.questions, evaluation.config, evaluation.trained_views()
    answered, ks, drawn = evaluation.ranks(views, progress), config.ks, config.candidates
    ranks, warm, full = answered.ranks, questions.both_warm(), by_side(answered.ranks, slice(None), ks)
    found = {
        **full,
        "warm": by_side(ranks, warm, ks),
        "cold": by_side(ranks, ~warm, ks),
        "by_degree": by_degree(_answer_degrees(evaluation), ranks, ks),
        "own_entity_barred": evaluation.barred(),
        "relations": {
            questions.graph.relations[index].name: _relation(evaluation, answered, int(index))
            for index in np.unique(questions.test.relation)
        },
    }
    if evaluation.barred():
        found["own_entity_allowed"] = by_side(answered.own_entity_allowed, slice(None), ks)
    if drawn is not None:
        few = by_side(evaluation.ranks(views, progress, drawn).ranks, slice(None), ks)
        found["sampled"] = sampled(evaluation.protocol(drawn), few, full)
    return found


def _relation(evaluation: Evaluation, answered: Answered, index: int) -> Metrics:
    questions, ks = evaluation.questions, evaluation.config.ks
    chosen, barred = questions.test.relation == index, bool(questions.loopless[index])
    found = {
        "protocol": evaluation.protocol(),
        "own_entity_barred": barred,
        **by_side(answered.ranks, chosen, ks),
    }
    if barred:
        found["own_entity_allowed"] = by_side(answered.own_entity_allowed, chosen, ks)
    return found


def _anchor_retrieval(evaluation: Evaluation, progress: Progress) -> Metrics:
    graph, test, config = evaluation.questions.graph, evaluation.questions.test, evaluation.config
    answered = evaluation.ranks(None, progress)
    found = {
        "protocol": f"{evaluation.model.similarity} of exported vectors, no projection; {evaluation.protocol()}",
        **retrieval(graph, test, answered.ranks, config.ks),
        "by_degree": by_degree(_answer_degrees(evaluation), answered.ranks, config.ks, "recall"),
        "per_query": {
            "protocol": PER_QUERY.format(k=config.retrieval_k),
            "relations": per_query(graph, test, answered.ranks, config.retrieval_k),
        },
    }
    if evaluation.barred():
        found["own_entity_allowed"] = retrieval(graph, test, answered.own_entity_allowed, config.ks)
    return found


def _answer_degrees(evaluation: Evaluation) -> dict[Side, Rows]:
    return {side: evaluation.questions.answer_degrees(side) for side in Side}
