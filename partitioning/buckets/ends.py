"""Which entities occur on which side of which relation: counted for the statistics, kept for append-only graphs.

A flag for each pair of a relation and an entity of its type takes a byte and no sorting. Where thousands of relations
share millions of entities, flags would outgrow memory: then the ends that occur lie in files, sorted bucket by bucket.
"""

import threading
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from artifacts.formats.graph import Side
from artifacts.ordered import contains, merged, unique
from partitioning.edges.grid import Grid
from partitioning.edges.key import Indices
from partitioning.entities.entity_map import EntityMap
from partitioning.events.relations import NamedRelation
from partitioning.ledger.history import END_BITS, History


class Ends(Protocol):
    """Ends that occur: those of a history, and those that are added from several threads."""

    def add(self, side: Side, part: int, held_out: bool, relation: Indices, offsets: Indices) -> None:
        """Adds the entities at offsets (N,) on a side of edges with relation indices (N,), of training or held out."""

    def training(self, side: Side, part: int) -> Indices:
        """Sorted (relation << END_BITS) | offset (M,) of the entities that occur in training."""

    def distinct(self, side: Side, part: int) -> Indices:
        """How many entities (relations,) occur, in training or held out."""


def open_ends(
    directory: Path,
    grid: Grid,
    history: History,
    relations: list[NamedRelation],
    entities: dict[str, EntityMap],
    memory: int,
    holds_out: bool,
) -> Ends:
    """Flags where they fit `memory` bytes, else files in a directory. `holds_out`: not all edges are of training."""
    flags = EndFlags(grid, history, relations, entities)
    return flags if flags.bytes * (1 + holds_out) <= memory else EndFiles(directory, history, len(relations))


class EndFlags:
    """A flag for each relation and entity; pages of memory that nothing touches are not there.

    Attributes:
        bytes: of all flags of training, should every page be touched; those of what is held out take as many
    """

    def __init__(
        self, grid: Grid, history: History, relations: list[NamedRelation], entities: dict[str, EntityMap]
    ) -> None:
        self._history = history
        self._starts: dict[tuple[Side, int], Indices] = {}
        for side in Side:
            counts = [entities[relation.config.side(side).type].counts for relation in relations]
            for part in range(grid.partitions(side)):
                of_part = [count[part] if part < len(count) else 0 for count in counts]
                self._starts[side, part] = np.concatenate([[0], np.cumsum(of_part)])
        self.bytes = sum(int(starts[-1]) for starts in self._starts.values())
        self._flags: dict[tuple[Side, int, bool], NDArray[np.bool_]] = {}
        self._lock = threading.Lock()

    def add(self, side: Side, part: int, held_out: bool, relation: Indices, offsets: Indices) -> None:
        # Safe without the lock: every thread writes the same value.
        self._of(side, part, held_out)[self._starts[side, part][relation] + offsets] = True

    def training(self, side: Side, part: int) -> Indices:
        return np.concatenate(
            [(index << END_BITS) | np.flatnonzero(flags) for index, flags in enumerate(self._rows(side, part, False))]
        )

    def distinct(self, side: Side, part: int) -> Indices:
        both = zip(self._rows(side, part, False), self._rows(side, part, True), strict=True)
        return np.array([np.count_nonzero(training | held) for training, held in both], np.int64)

    def _rows(self, side: Side, part: int, held_out: bool) -> list[NDArray[np.bool_]]:
        """The flags of each relation, views."""
        return np.split(self._of(side, part, held_out), self._starts[side, part][1:-1])

    def _of(self, side: Side, part: int, held_out: bool) -> NDArray[np.bool_]:
        """All flags of a side of a partition; those of the history are set when training is first asked for."""
        with self._lock:
            if (key := (side, part, held_out)) not in self._flags:
                starts, flags = self._starts[side, part], np.zeros(int(self._starts[side, part][-1]), np.bool_)
                if not held_out and len(counted := self._history.ends(side, part)):
                    flags[starts[counted >> END_BITS] + (counted & ((1 << END_BITS) - 1))] = True
                self._flags[key] = flags
            return self._flags[key]


class EndFiles:
    """The ends of every bucket, sorted, in a file for each side of a partition. Memory is that of one such file."""

    def __init__(self, directory: Path, history: History, relations: int) -> None:
        self._directory, self._history, self._relations = directory, history, relations
        self._lock = threading.Lock()

    def add(self, side: Side, part: int, held_out: bool, relation: Indices, offsets: Indices) -> None:
        ends = unique((relation << END_BITS) | offsets)
        with self._lock, self._path(side, part, held_out).open("ab") as file:
            ends.tofile(file)

    def training(self, side: Side, part: int) -> Indices:
        counted, ends = self._history.ends(side, part), self._spilled(side, part, False)
        return merged(counted, ends[~contains(counted, ends)]) if len(counted) else ends

    def distinct(self, side: Side, part: int) -> Indices:
        training, held = self.training(side, part), self._spilled(side, part, True)
        borders = np.arange(self._relations + 1) << END_BITS
        only_held = held[~contains(training, held)]
        return np.diff(np.searchsorted(training, borders) + np.searchsorted(only_held, borders))

    def _spilled(self, side: Side, part: int, held_out: bool) -> Indices:
        path = self._path(side, part, held_out)
        return unique(np.fromfile(path, np.int64)) if path.exists() else np.empty(0, np.int64)

    def _path(self, side: Side, part: int, held_out: bool) -> Path:
        return self._directory / f"ends-{side}-{part}{'-held' * held_out}"
