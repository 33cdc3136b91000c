"""Ranks of a training in threads of one process, over connections as between machines: no processes to wait for."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from artifacts.formats.graph import Graph
from pbg_transra.config import ModelConfig
from pbg_transra.ranks.host import hosted
from pbg_transra.ranks.identity import identity
from pbg_transra.ranks.place import Place
from pbg_transra.ranks.remote import met
from pbg_transra.reports import BucketDone, FollowReport, TrainReport
from pbg_transra.training.follow import follow
from pbg_transra.training.train import train
from tests.worlds.small_graphs import Triples, write_graph

GRAPH = {"fingerprint": "of the graph"}
PARTITIONS, GROUPS, TIMEOUT = 4, 24, 120.0
OnBucket = Callable[[BucketDone], None]


def moved_groups(directory: Path, users: int = 1200, items: int = 480) -> Graph:
    """Users click on items of their own group, save those of another one, and buy those of a third: what relations
    learn counts. A tenth of the edges is noise."""
    relations = {"click": ("item", 24_000), "save": ("item", 8_000), "buy": ("item", 4_000)}
    counts = {"user": [users // PARTITIONS] * PARTITIONS, "item": [items // PARTITIONS] * PARTITIONS}
    return _groups_of_users(directory, counts, relations)


def groups_with_categories(directory: Path, users: int = 1200, items: int = 480, categories: int = 48) -> Graph:
    """Users click on items of their own group, and like categories of another one and avoid those of a third, which lie
    in one partition."""
    relations = {"click": ("item", 24_000), "like": ("category", 8_000), "avoid": ("category", 8_000)}
    counts = {"user": [users // PARTITIONS] * PARTITIONS, "item": [items // PARTITIONS] * PARTITIONS}
    return _groups_of_users(directory, {**counts, "category": [categories]}, relations)


def _groups_of_users(directory: Path, counts: dict[str, list[int]], relations: dict[str, tuple[str, int]]) -> Graph:
    """Relations of users: the type at the other end, and how many edges."""
    generator, edges, users = np.random.default_rng(0), [], sum(counts["user"])
    for number, (relation, (kind, count)) in enumerate(relations.items()):
        heads = generator.integers(0, users, count)
        own = generator.random(count) < 0.9
        group = np.where(own, (heads + 7 * number) % GROUPS, generator.integers(0, GROUPS, count))
        tails = generator.integers(0, sum(counts[kind]) // GROUPS, count) * GROUPS + group
        held = count // 20
        for split, chosen in (
            ("train", slice(0, -2 * held)),
            ("valid", slice(-2 * held, -held)),
            ("test", slice(-held, None)),
        ):
            edges.append(Triples(relation, split, heads[chosen], tails[chosen]))
    return write_graph(directory, counts, {name: ("user", kind) for name, (kind, _) in relations.items()}, edges)


def train_together(
    graph_dir: Path, model_dir: Path, config: ModelConfig, count: int = 2, on_bucket: OnBucket = lambda done: None
) -> tuple[TrainReport, list[FollowReport]]:
    """Trains as so many ranks: what rank 0 did, and the others. `on_bucket` is rank 0's, which hears of all."""
    with ThreadPoolExecutor(count - 1) as threads:
        others = [threads.submit(train_as, rank, graph_dir, model_dir, config, count) for rank in range(1, count)]
        first = train_first(graph_dir, model_dir, config, count, on_bucket)
        return first, [other.result() for other in others]


def train_first(
    graph_dir: Path, model_dir: Path, config: ModelConfig, count: int = 2, on_bucket: OnBucket = lambda done: None
) -> TrainReport:
    """As rank 0."""
    with hosted(_place(0, count, model_dir), "run", identity(config, GRAPH)) as host:
        return train(graph_dir, model_dir, config, lambda progress: None, on_bucket, host=host)


def train_as(
    rank: int,
    graph_dir: Path,
    model_dir: Path,
    config: ModelConfig,
    count: int = 2,
    on_bucket: OnBucket = lambda done: None,
) -> FollowReport:
    """As any rank but the first."""
    place = _place(rank, count, model_dir)
    with met(place) as first, first.joined(identity(config, GRAPH)) as agreement:
        return follow(graph_dir, model_dir, config, place, agreement, lambda progress: None, on_bucket)


def _place(rank: int, count: int, directory: Path) -> Place:
    return Place(rank, count, "127.0.0.1", 0, TIMEOUT, directory / "meeting.json")
