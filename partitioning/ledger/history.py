"""What was counted for good before a build, in the numbers of its graph. (The previous graph's: `previous_graph`.)"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from artifacts.formats.bucket_file import EdgeColumns
from artifacts.formats.graph import Bucket, Side
from partitioning.edges.grid import Grid
from partitioning.edges.key import Indices
from partitioning.edges.stream import Window
from partitioning.ledger.insertion import CountedEdges

END_BITS = 40  # of an offset, below the relation, in the list of which entity occurs in which relation


class HeldOut(NamedTuple):
    """Events of valid or test in a bucket: offsets, relations, moments and weights in units, (N,) each."""

    split: int
    bucket: Bucket
    edges: EdgeColumns
    moments: Indices
    units: Indices


class History(Protocol):
    """What was counted: nothing of it is read again.

    Attributes:
        window: of its training events
        edges: (relations,) training edges
    """

    window: Window
    edges: Indices

    def training_edges(self, grid: Grid, bucket: Bucket, seed: int, weighted: bool) -> CountedEdges:
        """Its training edges in a bucket."""

    def held_out(self) -> Iterator[HeldOut]:
        """Its events of valid and test, which go through the split again, since its dates move on."""

    def degrees(self, type: str, part: int) -> NDArray[np.int32]:
        """Training degrees (N,) of the first entities of a partition."""

    def ends(self, side: Side, part: int) -> Indices:
        """Sorted (relation << END_BITS) | offset (N,) of the entities that occur on a side in training."""


class NoHistory:
    """Of a graph whose events are all read."""

    def __init__(self, relations: int) -> None:
        self.window = Window()
        self.edges = np.zeros(relations, np.int64)

    def training_edges(self, grid: Grid, bucket: Bucket, seed: int, weighted: bool) -> CountedEdges:
        none = np.empty(0, np.int64)
        return CountedEdges(EdgeColumns(none, none, none), none if weighted else None, grid.layout, seed)

    def held_out(self) -> Iterator[HeldOut]:
        return iter(())

    def degrees(self, type: str, part: int) -> NDArray[np.int32]:
        return np.empty(0, np.int32)

    def ends(self, side: Side, part: int) -> Indices:
        return np.empty(0, np.int64)
