"""Small graphs written straight in the on-disk format, for tests that need no logs."""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.formats.graph import SPLITS, EntityType, Graph, Relation, edge_path, ids_path, save_graph


@dataclass(frozen=True)
class Triples:
    """Edges of one relation in one split, (E,) each: global rows of heads and tails, by partition, and weights.

    Where any edge of a graph has a weight, all have: 1 by default.
    """

    relation: str
    split: str
    heads: np.ndarray
    tails: np.ndarray
    weights: np.ndarray | None = None


def write_graph(
    directory: Path, counts: dict[str, list[int]], relations: dict[str, tuple[str, str]], edges: list[Triples]
) -> Graph:
    """Writes a graph whose global row r of a type lies where its counts say."""
    names = list(relations)
    starts = {kind: np.concatenate([[0], np.cumsum(parts)]) for kind, parts in counts.items()}
    for kind, parts in counts.items():
        for part, count in enumerate(parts):
            (directory / f"entity_count_{kind}_{part}.txt").write_text(f"{count}\n")
            ids = pa.array([f"{kind[0]}{starts[kind][part] + row}" for row in range(count)])
            ids_path(directory, kind, part).parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table({"id": ids}), ids_path(directory, kind, part))
    lhs_parts = max(len(counts[lhs]) for lhs, _ in relations.values())
    rhs_parts = max(len(counts[rhs]) for _, rhs in relations.values())
    for split in SPLITS:
        located = [_locate(edge, relations[edge.relation], starts, names) for edge in edges if edge.split == split]
        table = np.concatenate([*located, np.empty((0, 5), np.int64)])
        weights = np.concatenate([_weights(edge) for edge in edges if edge.split == split] or [np.empty(0)])
        edge_path(directory, split).mkdir(parents=True)
        for i in range(lhs_parts):
            for j in range(rhs_parts):
                inside = (table[:, 0] == i) & (table[:, 2] == j)
                bucket = table[inside]
                with h5py.File(edge_path(directory, split) / f"edges_{i}_{j}.h5", "w") as file:
                    file.attrs["format_version"] = 1
                    for name, column in (("lhs", 1), ("rhs", 3), ("rel", 4)):
                        file[name] = bucket[:, column]
                    if any(edge.weights is not None for edge in edges):
                        file["weight"] = weights[inside].astype(np.float32)
    graph = Graph(
        entity_types=tuple(EntityType(kind, tuple(parts)) for kind, parts in counts.items()),
        relations=tuple(
            Relation(name, lhs, rhs, "onsite", {s: _count(edges, name, s) for s in SPLITS}, _weighted(edges, name))
            for name, (lhs, rhs) in relations.items()
        ),
        consent={},
        window=(None, None),
    )
    save_graph(directory, graph)
    return graph


def _locate(edge: Triples, sides: tuple[str, str], starts: dict[str, np.ndarray], names: list[str]) -> np.ndarray:
    """(E, 5): head's partition and offset, tail's partition and offset, relation."""
    columns = []
    for rows, kind in ((edge.heads, sides[0]), (edge.tails, sides[1])):
        part = np.searchsorted(starts[kind], rows, side="right") - 1
        columns += [part, rows - starts[kind][part]]
    return np.stack([*columns, np.full(len(edge.heads), names.index(edge.relation))], axis=1)


def _weights(edge: Triples) -> np.ndarray:
    return np.ones(len(edge.heads)) if edge.weights is None else edge.weights


def _weighted(edges: list[Triples], relation: str) -> bool:
    return any(edge.weights is not None for edge in edges if edge.relation == relation)


def _count(edges: list[Triples], relation: str, split: str) -> int:
    return sum(len(edge.heads) for edge in edges if edge.relation == relation and edge.split == split)


def block_graph(directory: Path, partitions: int = 2, users: int = 60, pins: int = 40, groups: int = 4) -> Graph:
    """Users like the pins of their own group (row modulo `groups`): easy to learn, impossible to guess."""
    generator = np.random.default_rng(0)
    edges = []
    for relation, count in (("click", 1200), ("save", 600)):
        heads = generator.integers(0, users, count)
        tails = generator.integers(0, pins // groups, count) * groups + heads % groups
        for split, chosen in (("train", slice(0, -100)), ("valid", slice(-100, -50)), ("test", slice(-50, None))):
            edges.append(Triples(relation, split, heads[chosen], tails[chosen]))
    counts = {"user": _parts(users, partitions), "pin": _parts(pins, partitions)}
    return write_graph(directory, counts, {"click": ("user", "pin"), "save": ("user", "pin")}, edges)


def _parts(count: int, partitions: int) -> list[int]:
    return [count // partitions + (part < count % partitions) for part in range(partitions)]
