"""The training edges of one entity, found in the buckets of its partition."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from artifacts.formats.bucket_file import BucketFile
from artifacts.formats.graph import Bucket, Graph, Relation, Side, bucket_path
from pipeline.lookup.published import Published, place_of, row_of

BLOCK = 1 << 20  # edges looked at together
MOST_EDGES = 10_000  # of an entity, after which no more are looked for


class Edge(NamedTuple):
    """What an entity is joined to: the relation, the side that the entity is on, and the other end."""

    relation: str
    side: Side
    type: str
    row: int


class Found(NamedTuple):
    """Edges of an entity, and whether they are all: where not, there are more than these."""

    edges: list[Edge]
    all: bool


def edges_of(published: Published, type: str, row: int) -> Found:
    """The distinct training edges of an entity, in the order of the buckets; MOST_EDGES at most.

    Reads the buckets of the entity's partition, a block of edges at a time.
    """
    found: dict[Edge, None] = {}
    for edge in _all(published, type, row):
        if len(found) == MOST_EDGES and edge not in found:
            return Found(list(found), all=False)
        found.setdefault(edge)
    return Found(list(found), all=True)


def _all(published: Published, type: str, row: int) -> Iterator[Edge]:
    graph = published.graph
    partition, offset = place_of(graph.entity_type(type), row)
    for bucket in graph.buckets():
        sides = [side for side in Side if _meets(graph, type, side, bucket, partition)]
        if not sides:
            continue
        with BucketFile(bucket_path(published.graph_dir, "train", bucket)) as file:
            for begin in range(0, len(file), BLOCK):
                edges = file.columns(begin, begin + BLOCK)
                for side in sides:
                    mine, others = side.pick((edges.lhs, edges.rhs), (edges.rhs, edges.lhs))
                    at = np.flatnonzero(mine == offset)
                    for rel, other in zip(edges.rel[at].tolist(), others[at].tolist(), strict=True):
                        if graph.relations[rel].type(side) == type:
                            yield _edge(graph, graph.relations[rel], side, bucket, other)


def _meets(graph: Graph, type: str, side: Side, bucket: Bucket, partition: int) -> bool:
    """Whether a bucket may hold edges of an entity of the partition on a side."""
    of_type = any(relation.type(side) == type for relation in graph.relations)
    return of_type and graph.entity_type(type).partition_in(side.pick(*bucket)) == partition


def _edge(graph: Graph, relation: Relation, side: Side, bucket: Bucket, other: int) -> Edge:
    entity_type = graph.entity_type(relation.type(side.other))
    partition = entity_type.partition_in(side.other.pick(*bucket))
    return Edge(relation.name, side, entity_type.name, row_of(entity_type, partition, other))
