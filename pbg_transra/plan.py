"""What training will take from the machine, before it starts: PBG dies of bus errors where this would have refused."""

from dataclasses import dataclass
from pathlib import Path

from artifacts.errors import DataError
from artifacts.graph import Graph
from artifacts.resources import require_disk, require_memory, require_shared_memory
from artifacts.section import did_you_mean
from pbg_transra.config import ModelConfig

FLOAT = 4  # bytes
EDGE_ON_DISK = 24  # bytes: lhs, rhs, rel as int64
EDGE_IN_MEMORY = 96  # bytes while a bucket is read, shuffled and cut into batches
PROCESS = 400 << 20  # bytes: torch and torchbiggraph in one process
HINT = "raise graph.partitions, lower model.dimension, or turn model.overlap off"


def slots_of(graph: Graph, name: str, overlap: bool) -> int:
    """Slots that a type needs: one for each side it is on, twice that to load the next while the last is in use."""
    sides = sum(any(getattr(r, side) == name for r in graph.relations) for side in ("lhs", "rhs"))
    return min(graph.entity_type(name).partitions, max(1, sides) * (2 if overlap else 1))


@dataclass(frozen=True)
class TrainPlan:
    """Bytes of memory, of shared memory (a part of it) and of disk."""

    memory: int
    shared_memory: int
    disk: int

    def require(self, directory: Path) -> None:
        """Raises ResourceError when it does not fit."""
        require_memory(self.memory, "training", HINT)
        require_shared_memory(self.shared_memory, "training", HINT)
        require_disk(directory, self.disk, "training")


def plan_training(graph: Graph, config: ModelConfig, workers: int) -> TrainPlan:
    """The slots of each type with their row sums are resident, and the edges of one or two chunks of a bucket; the disk
    holds an old and a new checkpoint."""
    row = (config.dimension + 1) * FLOAT
    table = sum(t.count for t in graph.entity_types) * row
    resident = sum(max(t.counts) * slots_of(graph, t.name, config.overlap) for t in graph.entity_types) * row
    buckets = graph.side_partitions("lhs") * graph.side_partitions("rhs")
    edges = graph.edges("train") // buckets // config.edge_chunks
    relations = len(graph.relations) * 2 * config.dimension * (config.dimension + 1) * FLOAT * 2
    shared = resident + relations + edges * EDGE_ON_DISK * (2 if config.overlap else 1)
    return TrainPlan(
        memory=resident + relations + edges * EDGE_IN_MEMORY + (workers + 1) * PROCESS,
        shared_memory=shared,
        disk=2 * (table + relations),
    )


def check_names(graph: Graph, config: ModelConfig) -> None:
    """Raises DataError for a relation that the config names and the graph lacks (names can come from the data)."""
    names = [relation.name for relation in graph.relations]
    lines = [
        f"{path}: '{name}' is not a relation of the graph{did_you_mean(name, names)}"
        for path, named in (("model.anchors", config.anchors), ("model.relation_weights", config.relation_weights))
        for name in named
        if name not in names
    ]
    if lines:
        raise DataError(*lines)
    if not graph.edges("train"):
        raise DataError("the graph has no training edge; widen graph.split or the sources")
