"""How many edges a second a device trains: a graph that is drawn, resident as a whole, without files."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from artifacts.formats.graph import EntityType, Graph, Relation
from benchmarks.training.train_limits import multiply_adds_per_edge
from pbg_transra import ModelConfig
from pbg_transra.backends.backend import SEGMENT, Capacity, Rates, Resident, Segment, opened
from pbg_transra.backends.choice import free_bytes
from pbg_transra.backends.device.backend import DeviceBackend
from pbg_transra.backends.device.room import device_bytes
from pbg_transra.backends.edges import Edges

RELATIONS = 13
SKEW = 3.0  # of rows: u^3 of them, so that the most popular hundredth has a fifth of the edges


@dataclass(frozen=True)
class World:
    """Entities of either type, edges of a segment, and how long a cell trains, in seconds."""

    entities: int
    edges: int
    seconds: float


WORLDS = {"cuda": World(2_000_000, SEGMENT, 3.0), "cpu": World(20_000, 20_000, 1.0)}


@dataclass(frozen=True)
class Cell:
    """What is measured: half of the negatives come from the batch. `recorded`: steps are replayed as CUDA graphs."""

    dimension: int
    negatives: int
    batch: int
    recorded: bool = True

    @property
    def config(self) -> ModelConfig:
        half = self.negatives // 2
        return ModelConfig(
            operator="transr",
            dimension=self.dimension,
            similarity="dot",
            scale=1.0,
            batch_size=self.batch,
            batch_negatives=half,
            uniform_negatives=half,
            pull=0,
        )

    def multiply_adds(self) -> float:
        """Of an edge's products."""
        half = self.negatives // 2
        return multiply_adds_per_edge(self.dimension, self.batch, half, half, "torch")

    def row_bytes(self) -> float:
        """Of an edge's rows of the tables: each is read for the gradients, and read and written in the update."""
        return 2 * 2 * 3 * self.dimension * 4  # two sides; a positive, and a uniform negative for each


def graph_of(world: World) -> Graph:
    kinds = tuple(EntityType(name, (world.entities,)) for name in ("user", "pin"))
    relations = tuple(Relation(f"r{n}", "user", "pin", "onsite", {"train": world.edges}) for n in range(RELATIONS))
    return Graph(kinds, relations, {}, (None, None))


def rate(cell: Cell, world: World, device: torch.device) -> dict[str, float] | None:
    """Edges/s, and bytes that torch held at most on a card; None where the card is too small."""
    graph, config = graph_of(world), cell.config
    capacity = Capacity({"user": 1, "pin": 1}, 1, world.edges)
    if device.type == "cuda" and device_bytes(graph, config, capacity) > free_bytes():
        return None
    with (
        counted_memory(device) as memory,
        opened(DeviceBackend(graph, config, device, cell.recorded), capacity) as backend,
    ):
        user, pin = (Resident(kind.name, 0, 0) for kind in graph.entity_types)
        for resident in (user, pin):
            backend.load(resident, lambda vectors, sums: (vectors.uniform_(-0.1, 0.1), sums.zero_()))
        backend.put_edges(0, world.edges, lambda into: fill_(into, world))
        segment = Segment((user,), (pin,), 0, 0, world.edges, 0, Rates(0.1, 0.01))
        backend.train(segment).result()  # records what can be
        edges, began = 0, time.perf_counter()
        while time.perf_counter() - began < world.seconds:
            edges += backend.train(segment).result().edges
        found = {"edges_per_second": edges / (time.perf_counter() - began)}
    return {**found, **memory, "planned_bytes": device_bytes(graph, config, capacity)}


def fill_(edges: Edges, world: World) -> None:
    """Popular rows are anywhere in the table."""
    generator = torch.Generator().manual_seed(0)
    for rows, step in ((edges.heads, 7919), (edges.tails, 104_729)):
        popularity = torch.rand(len(rows), generator=generator, dtype=torch.double).pow_(SKEW)
        torch.remainder((popularity * world.entities).long() * step, world.entities, out=rows)
    edges.relations.copy_(torch.randint(RELATIONS, edges.relations.shape, generator=generator))


@contextmanager
def counted_memory(device: torch.device) -> Iterator[dict[str, float]]:
    """Filled at the end of the block."""
    found: dict[str, float] = {}
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    yield found
    if device.type == "cuda":
        found["peak_bytes"] = float(torch.cuda.max_memory_reserved(device))
