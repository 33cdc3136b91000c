"""What the graph looks like: counts, degrees, balance, and entities that training never sees."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifacts.graph import SPLITS
from partitioning.edge_query import Grid
from partitioning.edges import EdgeSpill
from partitioning.entities import EntityMap
from partitioning.events import NamedRelation
from partitioning.key import Indices, Keys
from partitioning.places import Places

_QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


class Counts:
    """Counts that grow bucket by bucket, from several threads.

    Attributes:
        edges: (relations, splits)
        bucket_sizes: (splits, buckets)
        degrees: for each partition, training degrees of all types, one type after the other
        held_out: for each partition, in the same order, whether an entity occurs in valid or test
    """

    def __init__(self, spill: EdgeSpill, relations: list[NamedRelation], entities: dict[str, EntityMap]) -> None:
        self._grid: Grid = spill.grid
        self._directory = spill.directory
        self._lock = threading.Lock()
        self._places = Places(relations, entities.values())
        self._relations = relations
        self.edges = np.zeros((len(relations), len(SPLITS)), np.int64)
        self.bucket_sizes = np.zeros((len(SPLITS), spill.grid.buckets), np.int64)
        self.degrees = [np.zeros(size, np.int32) for size in self._places.sizes]
        self.held_out = [np.zeros(size, np.bool_) for size in self._places.sizes]

    def add(self, split: int, i: int, j: int, keys: Keys) -> None:
        """Counts the edges of a bucket, given as keys (N,)."""
        layout = self._grid.layout
        relation = layout.relation(keys)
        edges = np.bincount(relation, minlength=len(self._relations))
        with self._lock:
            self.edges[:, split] += edges
            self.bucket_sizes[split, i * self._grid.rhs_partitions + j] = len(keys)
        self._add_side("lhs", split, i, relation, layout.lhs(keys))
        self._add_side("rhs", split, j, relation, layout.rhs(keys))

    def _add_side(self, side: str, split: int, part: int, relation: Indices, offsets: Indices) -> None:
        at = self._places.of(side, part, relation, offsets)
        if split == 0:
            degrees = np.bincount(at, minlength=len(self.degrees[part]))
            with self._lock:
                self.degrees[part] += degrees.astype(np.int32)
        else:
            self.held_out[part][at] = True  # safe without the lock: every thread writes the same value
        ends = _unique((relation << self._bits(side)) | offsets)
        with self._lock, self._ends_path(side, part).open("ab") as file:
            ends.tofile(file)

    def distinct(self, side: str) -> Indices:
        """Number of distinct entities (relations,) on a side of each relation, over all splits."""
        total = np.zeros(len(self._relations), np.int64)
        for part in range(len(self.degrees)):
            if (path := self._ends_path(side, part)).exists():
                ends = _unique(np.fromfile(path, np.int64))
                total += np.bincount(ends >> self._bits(side), minlength=len(self._relations))
        return total

    def of_type(self, type: str) -> tuple[list[NDArray[np.int32]], list[NDArray[np.bool_]]]:
        """Training degrees of a type's entities and whether they occur in valid or test, partition by partition."""
        slices = self._places.of_type(type)
        return (
            [degrees[part] for degrees, part in zip(self.degrees, slices, strict=True)],
            [held_out[part] for held_out, part in zip(self.held_out, slices, strict=True)],
        )

    def _bits(self, side: str) -> int:
        return self._grid.layout.lhs_bits if side == "lhs" else self._grid.layout.rhs_bits

    def _ends_path(self, side: str, part: int) -> Path:
        return self._directory / f"ends-{side}-{part}"


def _unique(values: Indices) -> Indices:
    """Sorted distinct values. (np.unique hashes integers, which is many times slower than its sort.)"""
    values = np.sort(values)
    return values[np.concatenate([[True], values[1:] != values[:-1]])] if len(values) else values


def graph_statistics(
    counts: Counts,
    relations: list[NamedRelation],
    entities: dict[str, EntityMap],
    dropped: dict[str, int],
    left_out: dict[str, int],
) -> dict[str, Any]:
    """The content of statistics.json. `dropped`: rows without consent, by relation; `left_out`: edges, by reason."""
    lhs, rhs = counts.distinct("lhs"), counts.distinct("rhs")
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
        "edges_left_out": dict(left_out),
        "entities": {name: _type_statistics(counts, map) for name, map in entities.items()},
        "buckets": {split: _sizes(counts.bucket_sizes[code]) for code, split in enumerate(SPLITS)},
    }


def balanced(counts: tuple[int, ...]) -> bool:
    """Whether partitions are within 5 % or four standard deviations of what a uniform hash would give."""
    mean = sum(counts) / len(counts)
    allowed = max(0.05 * mean, 4 * (mean * (1 - 1 / len(counts))) ** 0.5)
    return all(abs(count - mean) <= allowed for count in counts)


def _type_statistics(counts: Counts, entities: EntityMap) -> dict[str, Any]:
    degrees, held_out = counts.of_type(entities.type)
    untrained = [(part == 0, held) for part, held in zip(degrees, held_out, strict=True)]
    total, mean = sum(entities.counts), sum(entities.counts) / len(entities.counts)
    deviation = max(abs(count - mean) for count in entities.counts)
    return {
        "count": total,
        "partitions": list(entities.counts),
        "imbalance": round(deviation / mean, 6) if total else 0.0,  # of the partition farthest from the mean
        "degree": _quantiles(degrees),
        "cold": int(sum(np.count_nonzero(zero & held) for zero, held in untrained)),
        "absent": int(sum(np.count_nonzero(zero & ~held) for zero, held in untrained)),  # known from an earlier graph
    }


def _quantiles(degrees: list[NDArray[np.int32]]) -> dict[str, int]:
    largest = max((int(part.max()) for part in degrees if len(part)), default=0)
    below = np.cumsum(sum(np.bincount(part, minlength=largest + 1) for part in degrees))
    found = {name: int(np.searchsorted(below, np.ceil(q * below[-1]))) for name, q in _QUANTILES.items()}
    return {**found, "max": largest}


def _sizes(sizes: Indices) -> dict[str, float]:
    return {"min": int(sizes.min()), "median": float(np.median(sizes)), "max": int(sizes.max())}
