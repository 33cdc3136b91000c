"""The backend of a device: the resident partitions lie in its memory, and one thread trains them there."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

import torch
from torch import Tensor

from artifacts.formats.graph import Graph
from pbg_transra.backends.adagrad import HogwildAdagrad
from pbg_transra.backends.backend import Capacity, RelationState, Resident, Segment, Trained
from pbg_transra.backends.device.copies import Copies
from pbg_transra.backends.device.relations import DeviceRelations
from pbg_transra.backends.device.tables import DeviceTables
from pbg_transra.backends.device.trainer import Trainer
from pbg_transra.backends.edges import Edges
from pbg_transra.backends.fused.processor import kinds_of
from pbg_transra.backends.fused.relations import Relations
from pbg_transra.config import ModelConfig
from pbg_transra.pbg.embedder import make_embedder


class DeviceBackend:
    """A Backend (see there) of two-sided operators. `recorded`: whether a card replays steps as CUDA graphs."""

    def __init__(self, graph: Graph, config: ModelConfig, device: torch.device, recorded: bool = True) -> None:
        self._graph, self._config, self._device, self._recorded = graph, config, device, recorded
        self._weighted = any(relation.weighted for relation in graph.relations)

    def open(self, capacity: Capacity) -> None:
        """Memory of the device: see room.py. On the host: the largest partition and the largest bucket's edges."""
        graph, config, device = self._graph, self._config, self._device
        self._copies = Copies(device)
        self._model = make_embedder(graph, config)
        operators = list(self._model.rhs_operators)
        self._optimizer = HogwildAdagrad(self._model.parameters(), lr=config.relation_lr)
        self._relations = DeviceRelations(Relations(operators, self._optimizer), device)
        self._tables = DeviceTables(graph.entity_types, config.dimension, capacity.slots, device)
        kinds = kinds_of(self._model, operators)
        self._trainer = Trainer(self._model.relations, kinds, self._tables, self._relations, config, self._recorded)
        rows = max(max(kind.counts) for kind in graph.entity_types)
        self._vectors, self._sums = self._copies.stage(rows, config.dimension), self._copies.stage(rows)
        self._staged = self._edges(capacity.edges, self._copies.stage)
        self._buffers = [self._edges(capacity.edges, self._on_device) for _ in range(capacity.buffers)]
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        if self._stream is not None:
            torch.cuda.synchronize(device)  # other streams see what was made above
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="device")

    def close(self) -> None:
        self._trainer.stop()
        self._thread.shutdown()
        if self._stream is not None:  # another backend may want the memory
            del self._trainer, self._tables, self._relations, self._buffers
            torch.cuda.empty_cache()

    @property
    def counters(self) -> Tensor:
        return self._trainer.counters

    @property
    def level(self) -> str:
        return self._device.type

    def load(self, resident: Resident, fill: Callable[[Tensor, Tensor], None]) -> None:
        vectors, sums = self._tables.partition(resident)
        staged, staged_sums = self._vectors[: len(vectors)], self._sums[: len(sums)]
        fill(staged, staged_sums)
        self._copies.copy((vectors, staged), (sums, staged_sums))

    def read(self, resident: Resident) -> tuple[Tensor, Tensor]:
        vectors, sums = self._tables.partition(resident)
        staged, staged_sums = self._vectors[: len(vectors)], self._sums[: len(sums)]
        self._copies.copy((staged, vectors), (staged_sums, sums))
        return staged, staged_sums

    def put_edges(self, buffer: int, count: int, fill: Callable[[Edges], None]) -> None:
        staged, into = self._staged[:count], self._buffers[buffer][:count]
        fill(staged)
        pairs = ((getattr(into, name), getattr(staged, name)) for name in vars(into))
        self._copies.copy(*((ours, theirs) for ours, theirs in pairs if ours is not None))

    def train(self, segment: Segment) -> "InThread":
        return InThread(self._thread.submit(self._train, segment))

    def relations(self) -> RelationState:
        self._relations.bring_back(self._copies)
        parameters = self._model.relation_parameters()
        sums = dict(zip(parameters, self._optimizer.sums.values(), strict=True))
        return RelationState({key: parameter.detach() for key, parameter in parameters.items()}, sums)

    def load_relations(self, state: RelationState) -> None:
        own = self.relations()
        for ours, theirs in ((own.parameters, state.parameters), (own.sums or {}, state.sums or {})):
            for key, values in theirs.items():
                ours[key].copy_(values)
        self._relations.take(self._copies)

    def _train(self, segment: Segment) -> Trained:
        with torch.cuda.stream(self._stream):
            edges = self._buffers[segment.buffer][segment.begin : segment.end]
            spans = self._tables.spans(segment, self._model.relations)
            return self._trainer.train(edges, spans, segment.rates, segment.seed)

    def _edges(self, count: int, room: Callable[..., Tensor]) -> Edges:
        heads, tails, relations = (room(count, dtype=torch.long) for _ in range(3))
        decays = room(2, count) if self._config.regularization else None
        return Edges(heads, tails, relations, room(count) if self._weighted else None, decays)

    def _on_device(self, *shape: int, dtype: torch.dtype = torch.float) -> Tensor:
        return torch.empty(shape, dtype=dtype, device=self._device)


class InThread:
    """A segment that the device's thread trains; a Pending (see backend.py)."""

    def __init__(self, future: Future[Trained]) -> None:
        self._future = future

    def result(self) -> Trained:
        return self._future.result()

    def wait(self, seconds: float) -> bool:
        if not wait([self._future], seconds).done:
            return False
        self._future.result()
        return True
