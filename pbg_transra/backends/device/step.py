"""A step on a device: its memory stays where it is, so that a card can replay it without being told again."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pbg_transra.backends.device.adagrad import step_rows_
from pbg_transra.backends.device.relations import DeviceRelations
from pbg_transra.backends.device.sorted_edges import Planned, SortedEdges
from pbg_transra.backends.device.tables import DeviceTables, Spans
from pbg_transra.backends.fused.layout import Buffers
from pbg_transra.backends.fused.objective import Objective
from pbg_transra.backends.fused.step import gradients

NONE_BAD = 2**62  # number of the first group whose loss is not finite, where there is none
EAGER = 2  # steps before the recorded one: libraries take their memory in them


@dataclass(frozen=True)
class StepMemory:
    """What all steps work on. rates: (2,) learning rates of entities and relations. loss: () summed, double precision.
    bad: () the first group whose loss is not finite."""

    tables: DeviceTables
    relations: DeviceRelations
    edges: SortedEdges
    spans: Spans
    weights: Tensor
    rates: Tensor
    loss: Tensor
    bad: Tensor


class Step:
    """A step of batches of one layout and kind."""

    def __init__(self, memory: StepMemory, objective: Objective, batch: Planned, held: tuple[bool, bool]) -> None:
        """`held`: whether the first component of heads and of tails stays what it is."""
        layout, vectors = batch.layout, memory.tables.vectors
        device = vectors.device
        self._memory, self._objective, self._held, self._single = memory, objective, held, batch.single
        self._projected = memory.relations.projected(batch.relation)
        self._buffers = Buffers(layout, vectors.shape[1], vectors.dtype, device)
        self._within = torch.arange(layout.chunks * layout.size, device=device)
        self.groups = torch.empty(4, layout.groups, dtype=torch.long, device=device)
        self.draws = torch.empty(2, layout.groups * layout.uniform, dtype=torch.long, device=device)

    def __call__(self) -> None:
        """Trains the batch whose groups and draws are in `groups` (4, G) and `draws` (2, G * U), any numbers."""
        memory, objective = self._memory, self._objective
        starts, lengths, of_groups, numbers = self.groups
        relations = of_groups[:1] if self._single else of_groups
        places = starts.unsqueeze(1) + torch.minimum(self._within, lengths.unsqueeze(1) - 1)
        rows = self._rows(places, of_groups[:1])
        torch.index_select(memory.tables.vectors, 0, rows, out=self._buffers.vectors)
        spaces = memory.relations.spaces(relations, self._projected)
        weights, decays = self._weights(places, of_groups)
        found = gradients(objective, self._buffers, spaces, weights, lengths, decays)
        half = len(rows) // 2
        for held, by_side in zip(self._held, (found.vectors[:half], found.vectors[half:]), strict=True):
            if held:
                by_side[:, 0] = 0
        step_rows_(memory.tables.vectors, memory.tables.sums, rows, found.vectors, memory.rates[0])
        memory.relations.update_(relations, found.spaces, memory.rates[1])
        memory.loss.add_(found.losses.sum())
        torch.minimum(memory.bad, numbers.masked_fill(found.losses.isfinite(), NONE_BAD).min(), out=memory.bad)

    def _rows(self, places: Tensor, relation: Tensor) -> Tensor:
        """Those of all vectors in the table (N,), in the order of a Layout."""
        memory, edges = self._memory, self._memory.edges.edges
        assert edges is not None
        drawn = self.draws.remainder(memory.spans.counts[:, relation]) + memory.spans.begins[:, relation]
        return torch.cat([edges.heads[places].flatten(), drawn[0], edges.tails[places].flatten(), drawn[1]])

    def _weights(self, places: Tensor, of_groups: Tensor) -> tuple[Tensor, Tensor | None]:
        """(G, n) factors on the edges' losses, and (2, G, n) on the regularization of heads and tails, if any."""
        edges = self._memory.edges.edges
        assert edges is not None
        weights = self._memory.weights[of_groups].unsqueeze(1)
        of_edges = weights.expand_as(places) if edges.weights is None else weights * edges.weights[places]
        return of_edges.contiguous(), None if edges.decays is None else edges.decays[:, places]


class Replayed:
    """Work on memory that stays where it is: on a card it is recorded, and then replayed as one CUDA graph."""

    def __init__(self, work: Callable[[], None], pool: Any) -> None:
        """`pool`: torch's token of the memory that recorded steps share; None: nothing is recorded."""
        self._work, self._pool, self._done = work, pool, 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        self._done += 1
        if self._pool is None or self._done <= EAGER:
            self._work()
            return
        if self._graph is None:
            self._graph = torch.cuda.CUDAGraph()
            stream = torch.cuda.current_stream()
            # The thread that loads ahead may go on meanwhile.
            with torch.cuda.graph(self._graph, self._pool, stream, capture_error_mode="thread_local"):
                self._work()
        self._graph.replay()
