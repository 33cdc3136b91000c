"""The backend of processors and shared memory: tables and edges lie there once, and HOGWILD workers train them."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor

from artifacts.formats.graph import Graph
from pbg_transra.backends.backend import Capacity, Pending, RelationState, Resident, Segment
from pbg_transra.backends.edges import Edges
from pbg_transra.backends.fused.processor import FusedProcessor
from pbg_transra.backends.processor import Processor
from pbg_transra.backends.reference import ReferenceProcessor
from pbg_transra.backends.tables import Table, shared_edges
from pbg_transra.backends.workers import Bench, Workers
from pbg_transra.config import ModelConfig
from pbg_transra.pbg.compat import QUIET_IMPORT
from pbg_transra.pbg.embedder import TransRAEmbedder, make_embedder


class CPUBackend:
    """A Backend (see there) in which nothing is copied: what is filled and read is the memory that is trained."""

    def __init__(self, graph: Graph, config: ModelConfig, workers: int) -> None:
        self._graph, self._config, self._count = graph, config, workers

    def open(self, capacity: Capacity) -> None:
        """Starts the workers. Memory: slots of D + 1 floats a row, and buffers of 24 bytes an edge, 4 more with weights
        and 8 with regularization."""
        graph, dimension = self._graph, self._config.dimension
        with ExitStack() as stack:
            stack.enter_context(shared_memory(self._config))
            model = make_embedder(graph, self._config)
            self._processor = make_processor(model, self._config, self._count)
            model.share_memory()  # only now: the fused processor has made one tensor of many parameters
            self._tables = {k.name: Table.allocate(k, dimension, capacity.slots[k.name]) for k in graph.entity_types}
            weighted = any(relation.weighted for relation in graph.relations)
            self._buffers = [
                shared_edges(capacity.edges, weighted, self._config.regularization > 0) for _ in range(capacity.buffers)
            ]
            bench = Bench(self._processor, self._tables, self._buffers)
            self._workers = stack.enter_context(Workers(self._count, bench))
            self._opened = stack.pop_all()

    def close(self) -> None:
        self._opened.close()

    @property
    def counters(self) -> Tensor:
        return self._processor.counters

    @property
    def level(self) -> str:
        return self._processor.level

    def load(self, resident: Resident, fill: Callable[[Tensor, Tensor], None]) -> None:
        fill(*self.read(resident))

    def read(self, resident: Resident) -> tuple[Tensor, Tensor]:
        partition = self._tables[resident.entity].partition(resident)
        return partition.vectors, partition.sums

    def put_edges(self, buffer: int, count: int, fill: Callable[[Edges], None]) -> None:
        fill(self._buffers[buffer][:count])

    def train(self, segment: Segment) -> Pending:
        return self._workers.train(segment)

    def relations(self) -> RelationState:
        parameters = self._processor.model.relation_parameters()
        sums = dict(zip(parameters, self._processor.optimizer.sums.values(), strict=True))
        return RelationState({key: parameter.detach() for key, parameter in parameters.items()}, sums)

    def load_relations(self, state: RelationState) -> None:
        own = self.relations()
        for ours, theirs in ((own.parameters, state.parameters), (own.sums or {}, state.sums or {})):
            for key, values in theirs.items():
                ours[key].copy_(values)


def make_processor(model: TransRAEmbedder, config: ModelConfig, workers: int) -> Processor:
    return (FusedProcessor if config.fused else ReferenceProcessor)(model, config, workers)


@contextmanager
def shared_memory(config: ModelConfig) -> Iterator[None]:
    """How tensors are shared within the block.

    Forked workers have them already: files without a name, open for each of the few. The reference shares every
    parameter of a relation by itself, too many for open files, so its go by name; a process of torch's removes what the
    killed leave.
    """
    if config.fused:
        try:
            yield
        except RuntimeError:
            _remove_empty()
            raise
        return
    strategy = torch.multiprocessing.get_sharing_strategy()
    torch.multiprocessing.set_sharing_strategy("file_system")
    try:
        with patch.dict(os.environ, PYTHONWARNINGS=QUIET_IMPORT):
            yield
    finally:
        torch.multiprocessing.set_sharing_strategy(strategy)


def _remove_empty() -> None:
    """What torch cannot make as long as it should be, on a full /dev/shm or under `ulimit -f`, keeps its name."""
    for path in Path("/dev/shm").glob(f"torch_{os.getpid()}_*"):
        if path.stat().st_size == 0:
            path.unlink()
