"""A backend whose memory nobody else sees, as a device's would be: what comes in and goes out is copied."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from artifacts.formats.graph import Graph
from pbg_transra.backends.backend import Capacity, RelationState, Resident, Segment, Trained
from pbg_transra.backends.cpu import make_processor
from pbg_transra.backends.device.backend import InThread
from pbg_transra.backends.edges import Edges
from pbg_transra.backends.tables import Partition, Table, ends_of
from pbg_transra.backends.workers import share_of
from pbg_transra.config import ModelConfig
from pbg_transra.pbg.embedder import make_embedder
from pbg_transra.seeds import seed_of

UNDEFINED = float("nan")


class CopyingBackend:
    """Trains in a thread of this process. What it hands out to be filled is undefined before, and spoiled after."""

    def __init__(self, graph: Graph, config: ModelConfig, workers: int) -> None:
        assert workers == 1
        self._graph, self._config = graph, config
        self._weighted = any(relation.weighted for relation in graph.relations)

    def open(self, capacity: Capacity) -> None:
        self.capacity = capacity
        self._model = make_embedder(self._graph, self._config)
        self._processor = make_processor(self._model, self._config, 1)
        self._tables = {
            kind.name: Table(kind, torch.zeros(slots, rows, self._config.dimension), torch.zeros(slots, rows))
            for kind in self._graph.entity_types
            for slots, rows in ((capacity.slots[kind.name], max(kind.counts)),)
        }
        self._held: dict[tuple[str, int], int] = {}  # the partition in each slot
        self._buffers: dict[int, Edges] = {}
        self._thread = ThreadPoolExecutor(1)

    def close(self) -> None:
        self._thread.shutdown()

    @property
    def counters(self) -> Tensor:
        return self._processor.counters

    @property
    def level(self) -> str:
        return self._processor.level

    def load(self, resident: Resident, fill: Callable[[Tensor, Tensor], None]) -> None:
        rows = self._graph.entity_type(resident.entity).counts[resident.partition]
        vectors, sums = torch.full((rows, self._config.dimension), UNDEFINED), torch.full((rows,), UNDEFINED)
        fill(vectors, sums)
        self._held[resident.entity, resident.slot] = resident.partition
        partition = self._at(resident)
        partition.vectors.copy_(vectors)
        partition.sums.copy_(sums)
        vectors.fill_(UNDEFINED)

    def read(self, resident: Resident) -> tuple[Tensor, Tensor]:
        partition = self._at(resident)
        return partition.vectors.clone(), partition.sums.clone()

    def put_edges(self, buffer: int, count: int, fill: Callable[[Edges], None]) -> None:
        assert buffer < self.capacity.buffers and count <= self.capacity.edges
        weights = torch.full((count,), UNDEFINED) if self._weighted else None
        decays = torch.full((2, count), UNDEFINED) if self._config.regularization else None
        into = Edges(*torch.full((3, count), -1), weights, decays)
        fill(into)
        self._buffers[buffer] = into[torch.arange(count)]
        into.heads.fill_(-1)

    def train(self, segment: Segment) -> InThread:
        return InThread(self._thread.submit(self._train, segment))

    def _train(self, segment: Segment) -> Trained:
        torch.manual_seed(seed_of(segment.seed, share_of(segment.end - segment.begin, 0, 1).start))
        for resident in (*segment.heads, *segment.tails):
            self._at(resident)
        edges = self._buffers[segment.buffer][segment.begin : segment.end]
        return self._processor.process(edges, ends_of(segment, self._tables), segment.rates)

    def _at(self, resident: Resident) -> Partition:
        held = self._held[resident.entity, resident.slot]
        assert held == resident.partition, "a partition was asked for that gave way"
        return self._tables[resident.entity].partition(resident)

    def relations(self) -> RelationState:
        parameters = self._model.relation_parameters()
        sums = dict(zip(parameters, self._processor.optimizer.sums.values(), strict=True))
        return RelationState({key: p.detach().clone() for key, p in parameters.items()}, sums)

    def load_relations(self, state: RelationState) -> None:
        for (key, ours), total in zip(
            self._model.relation_parameters().items(), self._processor.optimizer.sums.values(), strict=True
        ):
            ours.data.copy_(state.parameters[key])
            if state.sums is not None:
                total.copy_(state.sums[key])
