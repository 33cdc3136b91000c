"""Held-out events, kept in the ledger with their times: when the dates of the split move on, they move, too."""

from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np

from artifacts.expressions.engine import translated
from artifacts.formats.graph import SPLITS, Bucket
from partitioning.config.sections import GraphConfig
from partitioning.edges.key import Indices
from partitioning.edges.spill import EdgeSpill
from partitioning.edges.stream import Window
from partitioning.events.time_split import NO_MOMENT, SplitByTime
from partitioning.events.weights import UNIT
from partitioning.ledger.arrays import KeepsArrays, held_out_name
from partitioning.ledger.history import HeldOut, History


def replay_held_out(spill: EdgeSpill, history: History, config: GraphConfig) -> Window:
    """Adds the held-out events of a history to the spill, each to the split where it belongs now.

    Returns the window of all training events of the history: those that it had, and those that are now.
    """
    rule, window = SplitByTime.of(config.split.time) if config.split.time else None, history.window
    for events in history.held_out():
        split = _split(events, rule)
        if len(learnt := events.moments[split == 0]):
            window = window.including(Window(int(learnt.min()), int(learnt.max())))
        keys = spill.grid.layout.pack(events.edges.rel, events.edges.lhs, events.edges.rhs)
        columns = {"keys": keys, "moments": events.moments, **({"units": events.units} if spill.weighted else {})}
        with translated():
            spill.append(split, np.full(len(split), spill.grid.number(events.bucket)), columns)
    return window


def _split(events: HeldOut, rule: SplitByTime | None) -> Indices:
    """Positions in SPLITS (N,): where no date decides, an event stays."""
    stay = np.full(len(events.moments), events.split)
    return np.where(events.moments == NO_MOMENT, stay, rule.codes(events.moments)) if rule else stay


def keep_held_out(spill: EdgeSpill, arrays: KeepsArrays, threads: int) -> None:
    """Saves the held-out events of the spill; they stay in the spill, without moments.

    Sorted, so that the same events give the same bytes.
    """

    def keep(cell: tuple[int, Bucket]) -> None:
        edges, moments = spill.take_edges(*cell), spill.take_moments(*cell)
        if not len(moments):
            return
        units = np.full(len(moments), UNIT) if edges.units is None else edges.units
        lhs, rhs, relation = spill.grid.layout.columns(edges.keys)
        with translated():
            arrays.save(held_out_name(*cell), _sorted(np.stack([relation, lhs, rhs, moments, units])))
            spill.put(*cell, edges)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(keep, product(range(1, len(SPLITS)), spill.grid)))


def _sorted(events: Indices) -> Indices:
    """Events (5, N) ordered by their first row, then by the next, and so on."""
    return events[:, np.lexsort(events[::-1])]
