"""Edges come batch by batch from whatever reads the events, and go to a spill file of their split and bucket."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from artifacts.expressions.engine import translated
from partitioning.edges.key import Indices, Keys
from partitioning.edges.spill import EdgeSpill


class Window(NamedTuple):
    """First and last training event, epoch seconds; None without times. Of a random split: of all its events."""

    first: int | None = None
    last: int | None = None

    def including(self, other: "Window") -> "Window":
        """The window of the events of both."""
        firsts, lasts = ([time for time in times if time is not None] for times in zip(self, other, strict=True))
        return Window(min(firsts, default=None), max(lasts, default=None))


class EdgeBatch(NamedTuple):
    """Edges of N events.

    Attributes:
        bucket: number of the bucket in the grid (N,)
        split: position in SPLITS (N,)
        keys: packed in the grid's layout (N,)
        units: weights (N,) in whole units; None in a graph without weights
        moments: epoch seconds that decided the split (N,), NO_MOMENT where another rule did; None without a ledger
        window: of the events of this batch
    """

    bucket: Indices
    split: Indices
    keys: Keys
    units: Indices | None
    moments: Indices | None
    window: Window


class SpillReport(NamedTuple):
    """What was seen while edges were spilled: events (relations,), the largest weight of one in units (relations,), 0
    in a graph without weights, and their window."""

    events: Indices
    heaviest: Indices
    window: Window


def spill_edges(
    spill: EdgeSpill, batches: Iterable[EdgeBatch], relations: int, progress: Callable[[int], None]
) -> SpillReport:
    """Spills all batches. `progress` is told the number of events so far."""
    events, heaviest, window = np.zeros(relations, np.int64), np.zeros(relations, np.int64), Window()
    for batch in batches:
        relation = spill.grid.layout.relation(batch.keys)
        events += np.bincount(relation, minlength=relations)
        if batch.units is not None:
            np.maximum.at(heaviest, relation, batch.units)
        window = window.including(batch.window)
        columns = {"keys": batch.keys, "units": batch.units, "moments": batch.moments}
        with translated():
            spill.append(batch.split, batch.bucket, {name: c for name, c in columns.items() if c is not None})
        progress(int(events.sum()))
    return SpillReport(events, heaviest, window)
