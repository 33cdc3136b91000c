"""What a training or an export tells: plain numbers, so that reading them needs no torch."""

from dataclasses import dataclass, field
from typing import Any

from artifacts.errors import DataError
from artifacts.formats.graph import Bucket


class Diverged(DataError):
    """What is no longer finite in a training; who catches it adds where that was."""


@dataclass(frozen=True)
class TrainProgress:
    """Where training is: edges of this command, seconds since its first batch, mean loss per edge of late."""

    edges: int
    total_edges: int
    seconds: float
    loss: float


@dataclass(frozen=True)
class BucketDone:
    """What training a bucket gave. `loss` is per edge; `waited`: seconds that the workers stood still for files.

    `lr`: of entity vectors, at its begin. `trained`: edges of the whole training so far, those of earlier commands too.
    """

    pass_index: int
    bucket: Bucket
    edges: int
    loss: float
    seconds: float
    waited: float
    lr: float
    trained: int


@dataclass(frozen=True)
class ValidationDone:
    """What a validation gave, as `metric` calls it; `best_epoch` is the best so far. `trained`: edges of the whole
    training until then."""

    epoch: int
    metric: str
    score: float
    best_epoch: int
    seconds: float
    trained: int


@dataclass(frozen=True)
class TrainReport:
    """What training did. `edges_per_second` counts from the first batch: starting the workers is not training, nor is
    validation.

    `epochs` were trained, `loss` is that of the last one. `swap_seconds`: the workers stood still so long, waiting for
    partitions, edges and checkpoints. `validation_mrr`, `validation_retrieval`: pairs of epoch and MRR, or
    recall@20, whichever was measured; the model is that of `best_epoch`. `level`: of the kernels that ran last,
    "avx512", "avx2", "baseline" or "torch"; "reference" where autograd trained, "cuda" where a GPU did.
    """

    epochs: int
    resumed_epochs: int
    edges_per_second: float
    loss: float
    swap_seconds: float
    stopped_early: bool
    best_epoch: int | None
    validation_mrr: list[tuple[int, float]]
    validation_retrieval: list[tuple[int, float]]
    level: str


@dataclass(frozen=True)
class FollowReport:
    """What a rank but the first has trained: edges and buckets, and edges/s from its first batch to its last."""

    edges: int
    buckets: int
    edges_per_second: float
    swap_seconds: float


@dataclass(frozen=True)
class TrainingPlan:
    """What a training will take: bytes of memory, of shared memory (a part of it) and of disk, seconds, and bytes of a
    GPU's memory where one trains."""

    memory: int
    shared_memory: int
    disk: int
    seconds: int
    device: int = 0


@dataclass(frozen=True)
class ScalePlan:
    """What a training of a size would take: partitions of each type; bytes of memory and of shared memory (a part of
    it) of each machine; bytes of disk; seconds of all passes; bytes that pass the shared file system in each pass.
    `export_seconds`, `export_disk`: of the export after it.
    """

    partitions: int
    memory: int
    shared_memory: int
    disk: int
    seconds: float
    traffic: int
    export_seconds: float
    export_disk: int


@dataclass(frozen=True)
class Adoption:
    """What a start from stock PBG is worth: relations whose scores are PBG's (times `model.scale`), and those that only
    start near.

    `ids_compared` tells whether the names of the entities were there to be compared; counts always are.
    """

    exact: tuple[str, ...]
    start_only: tuple[str, ...]
    ids_compared: bool

    def told(self) -> str:
        """One line for a person."""
        ids = "ids compared" if self.ids_compared else "only counts of entities compared, as it has no names"
        near = f"; only a start, other scores: {', '.join(self.start_only)}" if self.start_only else ""
        return f"{ids}; scores kept: {', '.join(self.exact) or 'none'}{near}"


@dataclass(frozen=True)
class WarmStart:
    """What a training began with: entities that the published run knew, new ones that their edges have put somewhere,
    new ones at random, and relations that begin as in a new model."""

    run: str
    known: int
    placed: int
    random: int
    new_relations: tuple[str, ...]

    def told(self) -> str:
        """One line for a person."""
        fresh = f"; new relations: {', '.join(self.new_relations)}" if self.new_relations else ""
        return f"{self.known:,} entities known, {self.placed:,} new by their edges, {self.random:,} at random{fresh}"


@dataclass(frozen=True)
class Inferred:
    """What came of events: vectors by type, entities that have one already, new ones without a known neighbour, and
    edges of relations that the model does not know."""

    placed: dict[str, int]
    known: int
    alone: int
    other_edges: dict[str, int]

    def told(self) -> str:
        """One line for a person."""
        placed = ", ".join(f"{count:,} of type {kind}" for kind, count in self.placed.items()) or "none"
        alone = f"; {self.alone:,} new ones without a known neighbour have none" if self.alone else ""
        others = ", ".join(f"{count:,} of '{name}'" for name, count in self.other_edges.items())
        unknown = f"; edges of relations that the model does not know: {others}" if others else ""
        return f"vectors: {placed}; {self.known:,} entities have one already{alone}{unknown}"


@dataclass(frozen=True)
class ExportReport:
    """What was written: entities of all types, how many of them have no vector, as no training edge ever told where
    they belong, and the bytes of all files; what each index is, by type."""

    entities: int
    untrained: int
    bytes: int
    indexes: dict[str, Any] = field(default_factory=dict)
