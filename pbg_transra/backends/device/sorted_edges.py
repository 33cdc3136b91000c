"""The edges of a segment on a device, sorted by relation, and the batches that they are cut into."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pbg_transra.backends.device.tables import Spans
from pbg_transra.backends.edges import Edges
from pbg_transra.backends.fused.batches import Indices
from pbg_transra.backends.fused.layout import Layout


@dataclass(frozen=True)
class Planned:
    """A batch: where its groups stand among those of the segment, and its first relation, which tells its kind.

    `single`: all of its groups have that relation.
    """

    layout: Layout
    relation: int
    single: bool
    groups: slice
    edges: int


@dataclass(frozen=True)
class Plan:
    """A segment's batches. groups: (4, T) on the device: starts and lengths among the sorted edges, relations, numbers.
    relations: (T,) those on the host."""

    batches: Sequence[Planned]
    groups: Tensor
    relations: Indices

    def batch_of(self, group: int) -> int:
        """The number of the batch that a group is in."""
        return next(number for number, batch in enumerate(self.batches) if group < batch.groups.stop)


class SortedEdges:
    """Room for edges whose heads and tails are rows of the whole table; it grows, and lies elsewhere then."""

    def __init__(self) -> None:
        self.edges: Edges | None = None

    def take(self, edges: Edges, order: Tensor, spans: Spans) -> bool:
        """Takes edges over in an order; whether they lie elsewhere than before."""
        grown = self.edges is None or len(self.edges) < len(edges)
        if grown:
            empty = torch.empty_like
            self.edges = Edges(
                empty(edges.heads),
                empty(edges.tails),
                empty(edges.relations),
                None if edges.weights is None else empty(edges.weights),
                None if edges.decays is None else empty(edges.decays),
            )
        assert self.edges is not None
        into = self.edges[: len(edges)]
        torch.index_select(edges.relations, 0, order, out=into.relations)
        torch.add(edges.heads[order], spans.begins[0][into.relations], out=into.heads)
        torch.add(edges.tails[order], spans.begins[1][into.relations], out=into.tails)
        if edges.weights is not None and into.weights is not None:
            torch.index_select(edges.weights, 0, order, out=into.weights)
        if edges.decays is not None and into.decays is not None:
            into.decays.copy_(edges.decays[:, order])
        return grown


def require_rows(edges: Edges, spans: Spans) -> None:
    """Raises IndexError when a partition lacks the row of a head or a tail: in one table it would be another's."""
    for rows, counts in ((edges.heads, spans.counts[0]), (edges.tails, spans.counts[1])):
        sizes = counts[edges.relations]
        bad = (rows < 0) | (rows >= sizes)
        if bad.any():
            first = int(bad.nonzero()[0])
            raise IndexError(f"row {int(rows[first])} of a table of {int(sizes[first])}")


def planned(
    batches: Sequence[tuple[Indices, Indices]], layouts: Sequence[Layout], counts: Indices, device: torch.device
) -> Plan:
    """From starts and lengths (G,) of each batch's groups, and edges of each relation (R,)."""
    starts, lengths = (np.concatenate([batch[part] for batch in batches]) for part in range(2))
    relations = np.searchsorted(np.cumsum(counts), starts, side="right")
    found, begin = [], 0
    for (_, of_groups), layout in zip(batches, layouts, strict=True):
        groups = slice(begin, begin + layout.groups)
        own, begin = relations[groups], groups.stop
        found.append(Planned(layout, int(own[0]), bool((own == own[0]).all()), groups, int(of_groups.sum())))
    columns = np.stack([starts, lengths, relations, np.arange(begin)])
    return Plan(found, torch.from_numpy(columns).to(device), relations)
