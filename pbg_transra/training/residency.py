"""Which partitions lie in which slots of the backend, and what has to be saved before a slot is used again."""

from collections.abc import Iterable, Mapping
from threading import Lock

import torch
from torch import Tensor

from artifacts.formats.graph import Bucket, Graph, Side
from pbg_transra.backends.backend import Backend, Resident
from pbg_transra.start.drift import DriftBound
from pbg_transra.start.frozen import NOTHING, Frozen
from pbg_transra.start.initial import Initial
from pbg_transra.training.checkpoint_files import CheckpointFiles

Key = tuple[str, int]  # entity type and partition


def needed(graph: Graph, bucket: Bucket) -> dict[Key, None]:
    """The partitions that a bucket trains, in a fixed order; types that are not split lie in partition 0."""
    keys: dict[Key, None] = {}
    for relation in graph.relations:
        for side in Side:
            entity_type = graph.entity_type(relation.type(side))
            keys[entity_type.name, entity_type.partition_in(side.pick(*bucket))] = None
    return keys


def replicated(graph: Graph) -> list[Key]:
    """The partitions that every bucket needs: those of types that relations have and that are not split."""
    kinds = dict.fromkeys(kind for side in Side for kind in graph.types_on(side))
    return [(kind.name, 0) for kind in kinds if kind.partitions == 1]


def slots_of(graph: Graph, name: str, overlap: bool) -> int:
    """Slots that a type needs: one for each side it is on, twice that to load the next while the last is in use."""
    sides = sum(any(r.type(side) == name for r in graph.relations) for side in Side)
    return min(graph.entity_type(name).partitions, max(1, sides) * (2 if overlap else 1))


def slots_by_type(graph: Graph, overlap: bool) -> dict[str, int]:
    return {kind.name: slots_of(graph, kind.name, overlap) for kind in graph.entity_types}


class Residency:
    """One thread at a time may call it: the main one, or the one that works ahead."""

    def __init__(
        self,
        graph: Graph,
        slots: Mapping[str, int],
        backend: Backend,
        files: CheckpointFiles,
        initial: Initial,
        lr: float,
        frozen: Frozen = NOTHING,
    ) -> None:
        """`lr` is kept beside the sums, as PBG does."""
        self._graph, self._free = graph, {name: list(range(count)) for name, count in slots.items()}
        self._backend, self._files, self._initial, self._lr = backend, files, initial, lr
        self._frozen = frozen
        self._residents: dict[Key, Resident] = {}
        self._dirty: set[Key] = set()
        self._giving = Lock()  # `keep_only` may be called while the other thread brings

    def resident(self, key: Key) -> Resident:
        return self._residents[key]

    def on(self, bucket: Bucket, side: Side) -> tuple[Resident, ...]:
        """The partitions that the edges of a bucket have on a side, one of each type."""
        part, types = side.pick(*bucket), dict.fromkeys(self._graph.types_on(side))
        return tuple(self._residents[kind.name, kind.partition_in(part)] for kind in types)

    def bring(self, wanted: Iterable[Key], in_use: Iterable[Key] = ()) -> None:
        """Makes partitions resident; gives up those that are neither wanted nor in use, saving them first."""
        wanted = list(wanted)
        kept = {*wanted, *in_use}
        with self._giving:
            for key in wanted:
                if key not in self._residents:
                    self._residents[key] = Resident(*key, self._free_slot(key[0], kept))
                    self._load(key)

    def mark(self, keys: Iterable[Key]) -> None:
        """They are about to be trained."""
        self._dirty.update(keys)

    def save_all(self) -> None:
        """Saves what was trained since it was saved last; everything stays resident."""
        for key in sorted(self._dirty):
            self._save(key)

    @property
    def busy(self) -> bool:
        """Whether another thread brings partitions: who reads or writes one waits for it."""
        return self._giving.locked()

    def read(self, key: Key) -> Tensor:
        """A copy (n, D + 1) of a partition that is resident: vectors, and their sums in the last column."""
        with self._giving:
            vectors, sums = self._backend.read(self._residents[key])
            return torch.cat([vectors, sums[:, None]], dim=1)

    def write(self, key: Key, table: Tensor) -> None:
        """Replaces a partition that is resident by what `read` has, here or on another machine."""

        def fill(vectors: Tensor, sums: Tensor) -> None:
            vectors.copy_(table[:, :-1])
            sums.copy_(table[:, -1])

        with self._giving:
            self._backend.load(self._residents[key], fill)

    def keep_only(self, kept: Iterable[Key]) -> None:
        """Gives up every other partition, saving what was trained of it: another machine may take it then."""
        with self._giving:
            for key in self._residents.keys() - set(kept):
                if key in self._dirty:
                    self._save(key)
                self._free[key[0]].append(self._residents.pop(key).slot)

    def load_unseen(self) -> None:
        """Gives every partition a file in the version that is being made: those without an edge were never loaded."""
        for kind in self._graph.entity_types:
            for partition in range(kind.partitions):
                key = kind.name, partition
                if not self._files.has_next(*key) and not self._files.carry(*key):
                    self.bring([key])
                    self._save(key)

    def hold(self, bound: DriftBound) -> None:
        """Holds the version that is being made to a bound, once everything is saved: a partition that is changed by it
        is loaded and saved again."""
        for kind in self._graph.entity_types:
            for partition in range(kind.partitions):
                key = kind.name, partition
                self.bring([key])
                vectors, sums = (values.clone() for values in self._backend.read(self._residents[key]))
                if bound.hold(*key, vectors):
                    self._files.save(*key, *self._frozen.restored(*key, vectors, sums), self._lr)
                    self._load(key)

    def _free_slot(self, name: str, kept: set[Key]) -> int:
        if self._free[name]:
            return self._free[name].pop(0)
        key = next(key for key in self._residents if key[0] == name and key not in kept)
        if key in self._dirty:
            self._save(key)
        return self._residents.pop(key).slot

    def _save(self, key: Key) -> None:
        self._files.save(*key, *self._frozen.restored(*key, *self._backend.read(self._residents[key])), self._lr)
        self._dirty.discard(key)

    def _load(self, key: Key) -> None:
        """From the newest file; else its first values."""

        def fill(vectors: Tensor, sums: Tensor) -> None:
            if not self._files.load(*key, vectors, sums):
                self._initial.fill(*key, vectors, sums)
                self._dirty.add(key)
            self._frozen.hold_(*key, sums)

        self._backend.load(self._residents[key], fill)
