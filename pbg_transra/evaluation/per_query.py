"""What a list of k candidates holds of what a query should find: recall@k and NDCG@k per query, not per triple.

The rank of an answer among false candidates plus the number of answers above it is its place in the list, so that the
ranks of triples say all of it, whatever the number of candidates.
"""

from math import fsum

import numpy as np

from artifacts.formats.graph import Graph, Side
from pbg_transra.evaluation.global_edges import Edges, Rows
from pbg_transra.evaluation.metrics import Metrics, Sides
from pbg_transra.evaluation.ranking import Ranks


def per_query(graph: Graph, test: Edges, sides: Sides, k: int) -> Metrics:
    """Returns the metrics per relation and side (`rhs`: heads ask for tails). `sides` are ranks by plain similarity."""
    return {
        graph.relations[index].name: {
            side.value: list_metrics(*_asked(test, side, test.relation == index), ranks[test.relation == index], k)
            for side, ranks in sides.items()
        }
        for index in np.unique(test.relation)
    }


def list_metrics(query: Rows, answer: Rows, ranks: Ranks, k: int) -> Metrics:
    """Returns recall@k, ndcg@k and mrr (of the first answer in the whole list), means over the distinct queries.

    query, answer, ranks: (T,), T > 0; each pair counts once. Known answers of other splits are no part of the list.
    """
    _, once = np.unique(np.stack([query, answer]), axis=1, return_index=True)
    query, rank = query[once], ranks.rank[once]
    order = np.lexsort((rank, query))
    _, first, count = np.unique(query[order], return_index=True, return_counts=True)
    place = rank[order] + np.arange(len(order)) - np.repeat(first, count)
    hits = place <= k
    ideal = np.cumsum(1 / np.log2(np.arange(2, k + 2)))[np.minimum(count, k) - 1]
    recall, gain = np.add.reduceat(hits.astype(float), first) / count, np.add.reduceat(hits / np.log2(place + 1), first)
    return {
        "queries": len(first),
        f"recall@{k}": fsum(recall) / len(first),
        f"ndcg@{k}": fsum(gain / ideal) / len(first),
        "mrr": fsum(1 / place[first]) / len(first),
    }


def _asked(test: Edges, side: Side, chosen: Rows) -> tuple[Rows, Rows]:
    """Returns the rows asked from and the rows asked for of the chosen triples, when `side` is missing."""
    return side.pick((test.tail[chosen], test.head[chosen]), (test.head[chosen], test.tail[chosen]))
