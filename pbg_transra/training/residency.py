"""Which partitions lie in which slots of the tables, and what has to be saved before a slot is used again."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from artifacts.graph import Bucket, Graph, Side
from pbg_transra.config import ModelConfig
from pbg_transra.pbg.compat import seed_of
from pbg_transra.training.checkpoint_files import CheckpointFiles
from pbg_transra.training.tables import Table
from pbg_transra.training.workers import Place

Key = tuple[str, int]  # entity type and partition


def needed(graph: Graph, bucket: Bucket) -> dict[Key, None]:
    """The partitions that a bucket trains, in a fixed order; types that are not split lie in partition 0."""
    keys: dict[Key, None] = {}
    for relation in graph.relations:
        for side in Side:
            entity_type = graph.entity_type(relation.type(side))
            keys[entity_type.name, entity_type.partition_in(side.pick(*bucket))] = None
    return keys


def slots_of(graph: Graph, name: str, overlap: bool) -> int:
    """Slots that a type needs: one for each side it is on, twice that to load the next while the last is in use."""
    sides = sum(any(r.type(side) == name for r in graph.relations) for side in Side)
    return min(graph.entity_type(name).partitions, max(1, sides) * (2 if overlap else 1))


class Residency:
    """One thread at a time may call it: the main one, or the one that works ahead."""

    def __init__(self, tables: Mapping[str, Table], files: CheckpointFiles, config: ModelConfig) -> None:
        self._tables = tables
        self._files = files
        self._config = config
        self._types = {name: index for index, name in enumerate(tables)}
        self._slots: dict[Key, int] = {}
        self._dirty: set[Key] = set()

    def slot(self, key: Key) -> int:
        return self._slots[key]

    def places(self, graph: Graph, bucket: Bucket) -> tuple[Place, ...]:
        """Where the partitions lie that a bucket trains."""
        places: dict[Place, None] = {}
        for relation in graph.relations:
            for side in Side:
                entity_type = graph.entity_type(relation.type(side))
                own = entity_type.partition_in(side.pick(*bucket))
                places[Place(entity_type.name, side, own, self.slot((entity_type.name, own)))] = None
        return tuple(places)

    def bring(self, wanted: Iterable[Key], in_use: Iterable[Key] = ()) -> None:
        """Makes partitions resident; gives up those that are neither wanted nor in use, saving them first."""
        wanted = list(wanted)
        kept = {*wanted, *in_use}
        for key in wanted:
            if key not in self._slots:
                self._slots[key] = self._free_slot(key[0], kept)
                self._load(key)

    def mark(self, keys: Iterable[Key]) -> None:
        """They are about to be trained."""
        self._dirty.update(keys)

    def save_all(self) -> None:
        """Saves what was trained since it was saved last; everything stays resident."""
        for key in sorted(self._dirty):
            self._save(key)

    def load_unseen(self) -> None:
        """Gives every partition a file in the version that is being made: those without an edge were never loaded."""
        for name, table in self._tables.items():
            for partition in range(table.kind.partitions):
                key = name, partition
                if not self._files.has_next(*key) and not self._files.carry(*key):
                    self.bring([key])
                    self._save(key)

    def _free_slot(self, name: str, kept: set[Key]) -> int:
        taken = {slot: key for key, slot in self._slots.items() if key[0] == name}
        for slot in range(self._tables[name].slots):
            if slot not in taken:
                return slot
        slot, key = next((slot, key) for slot, key in taken.items() if key not in kept)
        if key in self._dirty:
            self._save(key)
        del self._slots[key]
        return slot

    def _view(self, key: Key) -> tuple[Tensor, Tensor]:
        return self._tables[key[0]].view(self._slots[key], key[1])

    def _save(self, key: Key) -> None:
        self._files.save(*key, *self._view(key), self._config.lr)
        self._dirty.discard(key)

    def _load(self, key: Key) -> None:
        """From the newest file; else independent normal numbers that depend on seed, type and partition only.

        PBG repeats one block of a million random numbers.
        """
        vectors, sums = self._view(key)
        if self._files.load(*key, vectors, sums):
            return
        generator = torch.Generator().manual_seed(seed_of(self._config.seed, self._types[key[0]], key[1]))
        vectors.normal_(0.0, self._config.init_scale, generator=generator)
        sums.zero_()
        self._dirty.add(key)
