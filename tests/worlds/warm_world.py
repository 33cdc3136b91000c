"""Two nights of one small graph: users like the pins of their group, and the second night has more of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torchbiggraph.checkpoint_manager import CheckpointManager

from artifacts.formats.graph import Graph, ids_path, load_graph
from pbg_transra.config import ModelConfig
from pbg_transra.training.train import train
from tests.worlds.small_graphs import Triples, write_graph

CONFIG = ModelConfig(
    operator="transra", anchors=("click",), dimension=8, similarity="cos", scale=10, epochs=9, workers=1, batch_size=100
)
WARM = CONFIG.model_copy(update={"warm_start": "latest", "epochs": 3})
USERS, PINS, GROUPS = 64, 40, 4
RELATIONS = {"click": ("user", "pin"), "save": ("user", "pin")}


def night(directory: Path, partitions: int, users: int, shuffled: int | None = None) -> Graph:
    """Users like the pins of their own group. The first `users` of them are there; where one lies follows from
    `shuffled`, its id and its edges do not."""
    generator, place = np.random.default_rng(0), np.arange(users)
    edges = []
    for relation, count in (("click", 2400), ("save", 1200)):
        heads = generator.integers(0, USERS, count)
        tails = generator.integers(0, PINS // GROUPS, count) * GROUPS + heads % GROUPS
        split = np.arange(count) % 20
        there = heads < users
        for name, chosen in (("train", split > 1), ("valid", split == 1), ("test", split == 0)):
            edges.append(Triples(relation, name, heads[there & chosen], tails[there & chosen]))
    if shuffled is not None:
        place = np.random.default_rng(shuffled).permutation(users)
        edges = [Triples(e.relation, e.split, place[e.heads], e.tails) for e in edges]
    parts = [users // partitions + (part < users % partitions) for part in range(partitions)]
    pins = [PINS // partitions] * partitions
    directory.mkdir(exist_ok=True)
    graph = write_graph(directory, {"user": parts, "pin": pins}, RELATIONS, edges)
    if shuffled is not None:
        rename(directory, graph, np.argsort(place))
    return graph


def rename(directory: Path, graph: Graph, user_at: np.ndarray) -> None:
    """Gives the user at each place its own id again."""
    first = 0
    for part, count in enumerate(graph.entity_type("user").counts):
        ids = pa.array([f"u{user}" for user in user_at[first : first + count]])
        pq.write_table(pa.table({"id": ids}), ids_path(directory, "user", part))
        first += count


def trained(
    graph_dir: Path, model_dir: Path, config: ModelConfig, on_bucket: Callable[[Any], None] = lambda b: None
) -> None:
    model_dir.mkdir(exist_ok=True)
    train(graph_dir, model_dir, config, lambda progress: None, on_bucket)


def by_id(graph_dir: Path, model_dir: Path, kind: str = "user") -> dict[str, tuple[np.ndarray, float]]:
    """Vectors and row sums by id; of version 0 where nothing else is there."""
    manager, found = CheckpointManager(str(model_dir)), {}
    for part in range(load_graph(graph_dir).entity_type(kind).partitions):
        vectors, state = manager.read(kind, part)
        ids = pq.read_table(ids_path(graph_dir, kind, part))["id"].to_pylist()
        sums = state["state"][0]["sum"].numpy()
        found |= {id: (vector, one) for id, vector, one in zip(ids, vectors.numpy(), sums, strict=True)}
    return found
