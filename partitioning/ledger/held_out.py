"""Held-out events, kept in the ledger with their times: when the dates of the split move on, they move, too."""

from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np

from artifacts.graph import SPLITS
from artifacts.moment import epoch_seconds
from partitioning.config.sections import GraphConfig
from partitioning.edges.key import Indices
from partitioning.edges.spill import EdgeSpill
from partitioning.events.events import NO_MOMENT
from partitioning.events.weights import UNIT
from partitioning.ledger.settled import held_name
from partitioning.sources.engine import translated


def hold_events(spill: EdgeSpill, ledger: Path, threads: int) -> None:
    """Writes the held-out events of the spill to the directory `ledger`; they stay in the spill, without moments.

    Sorted, so that the same events give the same bytes.
    """
    layout = spill.grid.layout

    def hold(cell: tuple[int, int]) -> None:
        split, bucket = cell
        keys, units = spill.keys(split, bucket), spill.units(split, bucket)
        if not len(keys):
            return
        weights = units if spill.weighted else np.full(len(keys), UNIT)
        columns = layout.relation(keys), layout.lhs(keys), layout.rhs(keys), spill.moments(split, bucket), weights
        events = np.stack(columns)
        with translated():
            np.save(ledger / held_name(split, *divmod(bucket, spill.grid.rhs_partitions)), _sorted(events))
            spill.put(split, bucket, keys, units if spill.weighted else None)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(hold, product(range(1, len(SPLITS)), range(spill.grid.buckets))))


def replay_events(spill: EdgeSpill, config: GraphConfig) -> None:
    """Adds the held-out events that were settled before to the spill, each to the split where it belongs now."""
    for before, i, j, (relation, lhs, rhs, moment, units) in spill.settled.held_out() if spill.settled else ():
        split = np.full(len(moment), before)
        if config.split.time:
            valid, test = epoch_seconds(config.split.time.valid_from), epoch_seconds(config.split.time.test_from)
            split = np.where(moment == NO_MOMENT, split, np.where(moment >= test, 2, np.where(moment >= valid, 1, 0)))
        if len(learnt := moment[split == 0]):
            spill.widen(int(learnt.min()), int(learnt.max()))
        columns = {"keys": spill.grid.layout.pack(relation, lhs, rhs), "moments": moment}
        if spill.weighted:
            columns["units"] = units
        with translated():
            spill.append(split * spill.grid.buckets + i * spill.grid.rhs_partitions + j, columns)


def _sorted(events: Indices) -> Indices:
    """Events (5, N) ordered by their first row, then by the next, and so on."""
    return events[:, np.lexsort(events[::-1])]
