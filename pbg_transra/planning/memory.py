"""What training will take from the machine, before it starts: PBG dies of bus errors where this would have refused."""

from dataclasses import dataclass

from artifacts.errors import DataError
from artifacts.formats.graph import Graph
from artifacts.machine.resources import require_memory, require_shared_memory
from artifacts.section import did_you_mean
from pbg_transra.backends.backend import SEGMENT
from pbg_transra.backends.tail_bias import types_on_both_sides
from pbg_transra.config import ModelConfig
from pbg_transra.evaluation.entity_vectors import BLOCK_ROWS
from pbg_transra.training.edge_files import EdgeFiles
from pbg_transra.training.replicas import exchanged_bytes
from pbg_transra.training.residency import slots_by_type, slots_of

FLOAT = 4  # bytes
EDGE_IN_BUFFER = 24  # bytes: lhs, rhs, rel as int64; 4 more for a weight, 8 for regularization
EDGE_WHILE_READ = 24  # bytes: the order, and a column before it is put in order
EDGE_IN_BATCHES = 72  # bytes: sorted by relation, by the workers, of a segment at a time
SUMS_WHILE_SAVED = 3  # copies of a partition's Adagrad sums: PBG keeps them pickled
COPIES_EXCHANGED = 4  # of what ranks share: the last answer, what was moved since, and an answer as it comes, twice
COPIES_FOR_EACH = 3  # of it that rank 0 holds for each other rank: what it sends, twice, and what it is answered
MAIN_PROCESS = 360 << 20  # bytes: torch and PBG, as measured
FORKED_WORKER, SPAWNED_WORKER = 50 << 20, 250 << 20  # bytes: a fork shares most of them
GPU_LIBRARIES = 3 << 30  # bytes of the host that CUDA's take; not measured
LONGER = 2  # than expected: how long a pass may take, for all that is known before
BUFFERS = 16  # vectors that a worker holds for each edge of a batch: two sides, their gradients, a few layouts
HINT = "raise graph.partitions, lower model.dimension, or turn model.overlap off"


@dataclass(frozen=True)
class Needs:
    """Bytes of memory, and of shared memory (a part of it)."""

    memory: int
    shared_memory: int

    def require(self) -> None:
        """Raises ResourceError when it does not fit."""
        require_memory(self.memory, "training", HINT)
        require_shared_memory(self.shared_memory, "training", HINT)


def needs_of(graph: Graph, edges: EdgeFiles, config: ModelConfig, workers: int, device: str = "cpu") -> Needs:
    """Resident are the slots of each type (at most 4 of its partitions, 2 with `overlap` off) with their Adagrad sums,
    and the edges of the largest bucket (or chunk of it), twice with `overlap`. For a GPU ("cuda") the host holds what
    passes through: the largest partition, and the edges of a bucket.
    """
    row, relations = (config.dimension + 1) * FLOAT, relation_bytes(graph, config)
    of_edges = edges.largest() * edge_bytes(graph, config)
    working = edges.largest() * EDGE_WHILE_READ + min(edges.largest(), SEGMENT) * EDGE_IN_BATCHES
    working += max(max(t.counts) for t in graph.entity_types) * FLOAT * SUMS_WHILE_SAVED
    if config.machines:
        exchanged = relations + exchanged_bytes(graph, config.dimension)
        working += exchanged * (COPIES_EXCHANGED + COPIES_FOR_EACH * (config.machines.ranks - 1))
    if device == "cpu":
        resident = sum(max(t.counts) * slots_of(graph, t.name, config.overlap) for t in graph.entity_types) * row
        shared = resident + relations + of_edges * (2 if config.overlap else 1)
        buffers = BUFFERS * (config.batch_size + config.uniform_negatives) * config.dimension * FLOAT
        working += workers * (buffers + (FORKED_WORKER if config.fused else SPAWNED_WORKER))
    else:
        shared = relations
        working += max(max(t.counts) for t in graph.entity_types) * row + of_edges + GPU_LIBRARIES
    return Needs(memory=shared + working + validation_memory(config) + MAIN_PROCESS, shared_memory=shared)


def disk_of(graph: Graph, config: ModelConfig, one_pass: float, begun: bool, snapshot: bool = False) -> int:
    """Bytes of disk, where a pass is expected to take `one_pass` seconds; `begun`: there are passes; `snapshot`: there
    is one to go on from.

    It holds the checkpoint that is being made, the committed one where a pass or first values come before it (and with
    validation the best), where a pass may last that long a snapshot, and with `max_drift` or `freeze` the first values;
    and a partition that is written aside while the pass has a file of it.
    """
    entities, relations, row = graph.entities, relation_bytes(graph, config), (config.dimension + 1) * FLOAT
    several = begun or config.passes > 1 or bool(config.start_from or config.warm_start)
    snapshot = snapshot or (not config.machines and LONGER * one_pass > config.checkpoint_seconds)
    copies = 1 + several + (several and bool(config.validate_every)) + snapshot
    copies += bool(config.max_drift or config.freeze)
    slots = slots_by_type(graph, config.overlap)
    again = [max(t.counts) for t in graph.entity_types if config.max_drift or t.partitions > slots[t.name]]
    aside = max(again, default=0) * row
    decays = entities * FLOAT if config.regularization else 0
    return copies * (entities * row + relations) + aside + decays


def relation_bytes(graph: Graph, config: ModelConfig) -> int:
    """At most: two projections and a translation of each, and their sums."""
    return len(graph.relations) * 2 * config.dimension * (config.dimension + 1) * FLOAT * 2


def edge_bytes(graph: Graph, config: ModelConfig) -> int:
    """Of an edge in a buffer."""
    weight = FLOAT if any(relation.weighted for relation in graph.relations) else 0
    return EDGE_IN_BUFFER + weight + (2 * FLOAT if config.regularization else 0)


def validation_memory(config: ModelConfig) -> int:
    """Bytes: the vectors of questions and answers, and of a block of candidates, twice each."""
    if config.validate_every is None:
        return 0
    return 4 * config.dimension * FLOAT * (config.validation_edges + BLOCK_ROWS)


def check_names(graph: Graph, config: ModelConfig) -> None:
    """Raises DataError for a relation that the config names and the graph lacks (names can come from the data), a type
    that has no one side for a bias, and a graph without what is to be trained."""
    names = [relation.name for relation in graph.relations]
    lines = [
        f"{path}: '{name}' is not a relation of the graph{did_you_mean(name, names)}"
        for path, named in (
            ("model.anchors", config.anchors),
            ("model.relation_weights", config.relation_weights),
            ("model.freeze.relations", config.freeze.relations if config.freeze else ()),
        )
        for name in named
        if name not in names
    ]
    if lines:
        raise DataError(*lines)
    if both := sorted(types_on_both_sides(graph.relations, config)):
        raise DataError(f"model.tail_bias: entity type '{both[0]}' is head and tail of anchors; expected one side")
    if not graph.edges("train"):
        raise DataError("the graph has no training edge; widen graph.split or the sources")
    if config.anchors and not any(r.edges["train"] for r in graph.relations if r.name in config.anchors):
        raise DataError("model.anchors: none has a training edge, so nothing would shape the space that is exported")
