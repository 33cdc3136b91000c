"""Metrics by how many training edges the entity has that is asked for: what is popular is easier to find."""

from collections.abc import Mapping

import numpy as np

from artifacts.formats.graph import Side
from pbg_transra.evaluation.global_edges import Rows
from pbg_transra.evaluation.metrics import Metrics, Sides, joined, metrics

STARTS = {"0": 0, "1-2": 1, "3-9": 3, "10-99": 10, "100+": 100}  # by name: the fewest training edges of a band


def by_degree(degrees: Mapping[Side, Rows], sides: Sides, ks: tuple[int, ...], hits: str = "hits") -> Metrics:
    """Returns the metrics per band, both sides together. `degrees`, (T,) by side: training edges of each answer."""
    starts = np.array(list(STARTS.values()))
    band = {side: np.searchsorted(starts, found, side="right") - 1 for side, found in degrees.items()}
    found: Metrics = {}
    for index, name in enumerate(STARTS):
        ranks = joined([sides[side][band[side] == index] for side in sides])
        found[name] = {"answers": len(ranks.above), **metrics(ranks, ks, hits)}
    return found
