"""What trains: the seam between the loop, which knows files and buckets, and the memory and processors of a machine.

A backend holds partitions in slots, edges in buffers, and the parameters of all relations. The loop says which
partition comes into which slot, and trains segment after segment; it never sees the memory that is trained.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from torch import Tensor

from pbg_transra.backends.edges import Edges

SEGMENT = 4_000_000  # edges between two looks at the clock: a bucket may be larger than what may be lost


class Rates(NamedTuple):
    """Learning rates of entity vectors and of relations' parameters."""

    entities: float
    relations: float


class Trained(NamedTuple):
    """What a segment gave: its edges, and their losses summed."""

    edges: int
    loss: float


@dataclass(frozen=True)
class Capacity:
    """What a training needs room for: slots by entity type, and edge buffers that hold so many edges each."""

    slots: Mapping[str, int]
    buffers: int
    edges: int


@dataclass(frozen=True)
class Resident:
    """A partition of an entity type, and the slot of that type that it lies in."""

    entity: str
    partition: int
    slot: int


@dataclass(frozen=True)
class Segment:
    """Edges [begin, end) of a buffer, at most SEGMENT, the partitions that their heads and tails lie in, and how they
    are trained.

    What is drawn follows from `seed` alone.
    """

    heads: tuple[Resident, ...]
    tails: tuple[Resident, ...]
    buffer: int
    begin: int
    end: int
    seed: int
    rates: Rates


@dataclass(frozen=True)
class RelationState:
    """Parameters of all relations, by the relation's index and the parameter's name, and their Adagrad sums.

    A sum has its parameter's shape. None: they were not kept, and begin at zero.
    """

    parameters: Mapping[tuple[int, str], Tensor]
    sums: Mapping[tuple[int, str], Tensor] | None


class Pending(Protocol):
    """A segment that is being trained."""

    def result(self) -> Trained:
        """Waits for its end. Raises Diverged, naming the relation, at a loss that is not finite; TransraError when a
        process of the backend died; and whatever else training raised."""
        ...

    def wait(self, seconds: float) -> bool:
        """Waits for its end, but no longer than so; says whether it has ended. Raises what `result` does."""
        ...


class Backend(Protocol):
    """Opened once, closed once. One thread may load, read and put edges while a segment trains that needs neither those
    slots nor that buffer; everything else comes from one thread at a time.

    Memory handed out lies on the host; D is the model's dimension, n the entities of a partition.
    """

    @property
    def counters(self) -> Tensor:
        """(W, 4), of each worker: edges trained, their summed loss, when its first batch began and its last one ended
        (seconds of the clock). May be read at any time."""
        ...

    @property
    def level(self) -> str:
        """What computes: a level of the fused kernels (see fused/levels.py), or "reference". Good while it is open."""
        ...

    def open(self, capacity: Capacity) -> None:
        """Makes room and gets ready to train; relations begin as those of a new model."""
        ...

    def load(self, resident: Resident, fill: Callable[[Tensor, Tensor], None]) -> None:
        """Brings a partition into its slot: `fill` is given vectors (n, D) and row sums of Adagrad (n,) to write into,
        whose content is undefined before. What lay in the slot is lost."""
        ...

    def read(self, resident: Resident) -> tuple[Tensor, Tensor]:
        """Vectors (n, D) and row sums (n,) as they are now; not to be written, and only good until the next call."""
        ...

    def put_edges(self, buffer: int, count: int, fill: Callable[[Edges], None]) -> None:
        """Puts `count` edges into a buffer: `fill` is given them to write into. They have weights where the graph has
        any."""
        ...

    def train(self, segment: Segment) -> Pending:
        """Begins to train a segment, and returns at once; one at a time."""
        ...

    def relations(self) -> RelationState:
        """As they are now; good until the next call. Not while a segment trains."""
        ...

    def load_relations(self, state: RelationState) -> None:
        """Takes parameters and sums of the same names and shapes as `relations` has. Not while a segment trains."""
        ...

    def close(self) -> None:
        """Gives everything back, also where a segment is being trained."""
        ...


SomeBackend = TypeVar("SomeBackend", bound=Backend)


@contextmanager
def opened(backend: SomeBackend, capacity: Capacity) -> Iterator[SomeBackend]:
    """The backend, open within the block."""
    backend.open(capacity)
    try:
        yield backend
    finally:
        backend.close()
