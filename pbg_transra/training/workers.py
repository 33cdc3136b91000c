"""HOGWILD workers that live as long as the training: they hold model, tables and edge buffers, and are sent only where
to look."""

from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkContext, SpawnContext
from multiprocessing.process import BaseProcess
from types import TracebackType

import torch
from torch import nn
from torch.multiprocessing import get_context
from torchbiggraph.edgelist import EdgeList
from torchbiggraph.entitylist import EntityList
from torchbiggraph.stats import Stats
from torchbiggraph.types import Side as PBGSide
from torchbiggraph.util import split_almost_equally

from artifacts.errors import TransraError
from artifacts.graph import Side
from pbg_transra.backends.adagrad import HogwildRowAdagrad
from pbg_transra.backends.reference import Processor, ReferenceProcessor
from pbg_transra.pbg.compat import prepare_worker, seed_of
from pbg_transra.pbg.embedder import TransRAEmbedder
from pbg_transra.training.learning_rates import Rates
from pbg_transra.training.tables import EdgeBuffer, Table
from pbg_transra.training.worker_failure import WorkerFailure


@dataclass(frozen=True)
class Place:
    """A partition that a bucket trains: its type and side, and the slot that it lies in."""

    entity: str
    side: Side
    partition: int
    slot: int


@dataclass(frozen=True)
class Task:
    """A part of a bucket's edges, [begin, end) of a buffer; each worker takes its share."""

    places: tuple[Place, ...]
    buffer: int
    begin: int
    end: int
    seed: int
    rates: Rates


@dataclass
class Bench:
    """What a worker holds for good."""

    model: TransRAEmbedder
    processor: Processor
    tables: dict[str, Table]
    buffers: Sequence[EdgeBuffer]

    def do(self, task: Task, share: slice) -> Stats:
        """Trains a share of the task; the draw depends on the task's seed and the share."""
        torch.manual_seed(seed_of(task.seed, share.start))
        self._seat(task.places, task.rates.entities)
        self.processor.set_relation_lr(task.rates.relations)
        begin, end = task.begin + share.start, task.begin + share.stop
        edges = edges_in(self.buffers[task.buffer], begin, end)
        return self.processor.process(self.model, edges, torch.arange(len(edges)))

    def _seat(self, places: Sequence[Place], lr: float) -> None:
        """Points model and optimisers to the slots; a partition that is on both sides is one parameter."""
        parameters: dict[tuple[str, int], nn.Parameter] = {}
        self.processor.entity_optimizers.clear()
        for place in places:
            key = place.entity, place.partition
            if key not in parameters:
                vectors, sums = self.tables[place.entity].view(place.slot, place.partition)
                parameters[key] = nn.Parameter(vectors)
                self.processor.entity_optimizers[key] = HogwildRowAdagrad([parameters[key]], lr, [sums])
            self.model.set_embeddings(place.entity, parameters[key], place.side.pick(PBGSide.LHS, PBGSide.RHS))


def edges_in(buffer: EdgeBuffer, begin: int, end: int) -> EdgeList:
    heads, tails, relations = buffer.columns[:, begin:end]
    edges = EdgeList(EntityList.from_tensor(heads), EntityList.from_tensor(tails), relations)
    if buffer.weights is not None:
        edges.weights = buffer.weights[begin:end]
    return edges


def work(connection: Connection, index: int, workers: int, bench: Bench) -> None:
    """A worker's life: one task after the other until there is none. An error is sent back, not raised."""
    prepare_worker()
    while (task := connection.recv()) is not None:
        share = list(split_almost_equally(task.end - task.begin, num_parts=workers))[index]
        try:
            connection.send(bench.do(task, share))
        except Exception as error:
            connection.send(WorkerFailure.of(error))


def context_of(processor: Processor) -> ForkContext | SpawnContext:
    """How processes are started that train: by a fork, which takes no time and shares torch's memory with this process.

    Autograd refuses to run in a fork, so the reference's import torch by themselves. Of a fork only what is in shared
    memory comes back.
    """
    return get_context("spawn") if isinstance(processor, ReferenceProcessor) else get_context("fork")


class Workers:
    """Started once, closed at the end of the block."""

    def __init__(self, count: int, bench: Bench) -> None:
        context = context_of(bench.processor)
        self._connections: list[Connection] = []
        self._processes = []
        for index in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=work, args=(theirs, index, count, bench), daemon=True)
            process.start()
            theirs.close()
            self._connections.append(ours)
            self._processes.append(process)

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self._processes:
            process.terminate()
            process.join()

    def start(self, task: Task) -> None:
        for connection in self._connections:
            connection.send(task)

    def finish(self) -> Stats:
        """Waits for all shares. Raises what a worker raised, and TransraError when one died."""
        waiting, found = dict(zip(self._connections, self._processes, strict=True)), []
        while waiting:
            for ready in wait([*waiting, *(process.sentinel for process in waiting.values())]):
                if isinstance(ready, Connection):
                    found.append(self._receive(ready, waiting.pop(ready)))
        return Stats.sum(found)

    def _receive(self, connection: Connection, process: BaseProcess) -> Stats:
        try:
            answer = connection.recv()
        except EOFError:
            process.join()
            raise TransraError(
                f"a training process ended with status {process.exitcode}; the same command goes on"
            ) from None
        if isinstance(answer, WorkerFailure):
            raise answer.error()
        return answer
