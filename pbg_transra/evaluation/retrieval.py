"""What the anchor space is good for: recall@k and MRR of plain similarity between exported vectors, no projection."""

import numpy as np

from artifacts.formats.graph import Graph, Side
from pbg_transra.evaluation.global_edges import Edges
from pbg_transra.evaluation.metrics import Metrics, Sides, joined, metrics
from pbg_transra.evaluation.ranking import Ranks


def retrieval(graph: Graph, test: Edges, sides: Sides, ks: tuple[int, ...]) -> Metrics:
    """Returns the metrics per relation and side, and per ordered pair of types `from->to` that a test relation joins.

    `sides` are the ranks by plain similarity. Recall is per test triple, other known answers left out.
    """
    relations: Metrics = {}
    pairs: dict[str, list[Ranks]] = {}
    for index in np.unique(test.relation):
        relation = graph.relations[index]
        chosen = {side: ranks[test.relation == index] for side, ranks in sides.items()}
        relations[relation.name] = {side.value: _recall(ranks, ks) for side, ranks in chosen.items()}
        pairs.setdefault(f"{relation.lhs}->{relation.rhs}", []).append(chosen[Side.RHS])
        pairs.setdefault(f"{relation.rhs}->{relation.lhs}", []).append(chosen[Side.LHS])
    return {"pairs": {pair: _recall(joined(ranks), ks) for pair, ranks in pairs.items()}, "relations": relations}


def _recall(ranks: Ranks, ks: tuple[int, ...]) -> Metrics:
    return {"queries": len(ranks.above), **metrics(ranks, ks, hits="recall")}
