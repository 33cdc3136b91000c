"""What the graph looks like: counts, degrees, balance, and entities that training never sees."""

from typing import Any

import numpy as np

from artifacts.formats.graph import SPLITS, Side
from partitioning.buckets.counts import GraphCounts
from partitioning.edges.key import Indices
from partitioning.entities.entity_map import EntityMap
from partitioning.events.relations import NamedRelation

_QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


def graph_statistics(
    counts: GraphCounts,
    relations: list[NamedRelation],
    entities: dict[str, EntityMap],
    dropped: dict[str, int],
    left_out: dict[str, int],
) -> dict[str, Any]:
    """The content of statistics.json. `dropped`: rows without consent, by relation; `left_out`: edges, by reason."""
    lhs, rhs = counts.distinct[Side.LHS], counts.distinct[Side.RHS]
    return {
        "relations": [
            {
                "name": relation.name,
                "edges": dict(zip(SPLITS, counts.edges[index].tolist(), strict=True)),
                "distinct_lhs": int(lhs[index]),
                "distinct_rhs": int(rhs[index]),
            }
            for index, relation in enumerate(relations)
        ],
        "without_consent": dropped,
        "edges_left_out": left_out,
        "entities": {name: _type_statistics(counts, map) for name, map in entities.items()},
        "buckets": {split: _sizes(counts.bucket_sizes[code]) for code, split in enumerate(SPLITS)},
    }


def balanced(counts: tuple[int, ...]) -> bool:
    """Whether partitions are within 5 % or four standard deviations of what a uniform hash would give."""
    mean = sum(counts) / len(counts)
    allowed = max(0.05 * mean, 4 * (mean * (1 - 1 / len(counts))) ** 0.5)
    return all(abs(count - mean) <= allowed for count in counts)


def _type_statistics(counts: GraphCounts, entities: EntityMap) -> dict[str, Any]:
    counted = counts.types[entities.type]
    total, mean = sum(entities.counts), sum(entities.counts) / len(entities.counts)
    deviation = max(abs(count - mean) for count in entities.counts)
    return {
        "count": total,
        "partitions": list(entities.counts),
        "imbalance": round(deviation / mean, 6) if total else 0.0,  # of the partition farthest from the mean
        "degree": _quantiles(counted.degrees),
        "cold": counted.cold,
        "absent": counted.absent,
    }


def _quantiles(degrees: Indices) -> dict[str, int]:
    """Of how many entities (largest degree + 1,) have each degree."""
    below = np.cumsum(degrees)
    found = {name: int(np.searchsorted(below, np.ceil(q * below[-1]))) for name, q in _QUANTILES.items()}
    return {**found, "max": len(degrees) - 1}


def _sizes(sizes: Indices) -> dict[str, float]:
    return {"min": int(sizes.min()), "median": float(np.median(sizes)), "max": int(sizes.max())}
