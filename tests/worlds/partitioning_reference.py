"""A short reference for the partitioning stage in pandas, and a reader of its output: what the tests compare."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from artifacts.formats.bucket_file import BucketFile
from artifacts.formats.graph import SPLITS, Graph, bucket_path, ids_path, load_graph
from partitioning import GraphConfig, build_graph, graph_problems

Edge = tuple[str, str, str, str]  # split, relation name, lhs id, rhs id


def build(config: dict, root: Path, destination: Path) -> Graph:
    """Builds a graph from a config as written; the config must have no problems."""
    section = GraphConfig.model_validate({"memory_limit": "1GB", **config})
    assert list(graph_problems(section)) == []
    destination.mkdir()
    build_graph(section, root, destination, lambda step, fraction: None)
    return load_graph(destination)


def partition_of(id: str, partitions: int) -> int:
    return int.from_bytes(hashlib.md5(id.encode()).digest()[8:], "little") % partitions


def ids(directory: Path, graph: Graph, type: str) -> list[list[str]]:
    """Ids of a type, by partition and offset."""
    partitions = graph.entity_type(type).partitions
    return [pq.read_table(ids_path(directory, type, part))["id"].to_pylist() for part in range(partitions)]


def edges(directory: Path) -> list[Edge]:
    """All edges of a graph, by name, sorted."""
    return sorted(edge for edge, _ in read_edges(directory))


def weighted_edges(directory: Path) -> dict[Edge, float]:
    """Weights of a graph without repeated edges."""
    found = read_edges(directory)
    assert len(dict(found)) == len(found)
    return dict(found)


def read_edges(directory: Path) -> list[tuple[Edge, float]]:
    """All edges of a graph, by name, and their weights."""
    graph = load_graph(directory)
    names = {entity_type.name: ids(directory, graph, entity_type.name) for entity_type in graph.entity_types}
    found = []
    for split in SPLITS:
        for bucket in graph.buckets():
            with BucketFile(bucket_path(directory, split, bucket)) as file:
                weights = file.weights()
                columns = zip(*file.columns(), np.ones(len(file)) if weights is None else weights, strict=True)
                for lhs, rhs, rel, weight in columns:
                    relation = graph.relations[rel]
                    ends = names[relation.lhs][bucket.lhs][lhs], names[relation.rhs][bucket.rhs][rhs]
                    found.append(((split, relation.name, *ends), float(weight)))
    return found


def world(partitions: int, split: dict) -> dict:
    """A config with consent, `where` and `relation_column` over events.parquet and people.csv."""
    user, pin = {"type": "user", "column": "user"}, {"type": "pin", "column": "pin"}
    relation = {"source": "events", "lhs": user, "rhs": pin, "allow_empty": True}
    return {
        "partitions": partitions,
        "sources": {
            "events": {"path": "events.parquet", "time_column": "ts", "time_unit": "s"},
            "people": {"path": "people.csv", "types": {"opted_in": "BOOLEAN"}},
        },
        "entities": {"user": {}, "pin": {"partitions": 1}},
        "relations": [
            {**relation, "name": "click", "where": "action = 'click'"},
            {**relation, "relation_column": "device", "lhs": pin, "rhs": user, "domain": "side"},
            {**relation, "name": "visit", "where": "action = 'visit'", "domain": "offsite"},
        ],
        "consent": {"source": "people", "type": "user", "column": "user", "where": "opted_in"},
        "split": split,
    }


def world_edges(events: pd.DataFrame, consented: set[int], valid_from: int, test_from: int, until: int) -> list[Edge]:
    """Edges that `world` must give with a split by time, row by row; what an earlier split has is not asked again."""
    found = []
    for row in events[events.ts < until].itertuples():
        split = "test" if row.ts >= test_from else "valid" if row.ts >= valid_from else "train"
        user, pin = str(row.user), row.pin
        found.append((split, row.device, pin, user))
        if row.action == "click" or (row.action == "visit" and row.user in consented):
            found.append((split, row.action, user, pin))
    first = {}
    for split, *edge in found:
        first[tuple(edge)] = min(first.get(tuple(edge), split), split, key=SPLITS.index)
    return sorted(edge for edge in found if edge[0] == first[edge[1:]])
