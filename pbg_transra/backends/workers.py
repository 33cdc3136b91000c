"""HOGWILD workers that live as long as the training: they hold processor, tables and edge buffers, and are sent only
where to look."""

import ctypes
import multiprocessing
import os
import signal
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any

import torch
from torch.multiprocessing import get_context

from artifacts.errors import TransraError
from artifacts.machine.interrupts import blocked, unblock
from pbg_transra.backends.backend import Segment, Trained
from pbg_transra.backends.edges import Edges
from pbg_transra.backends.processor import Processor
from pbg_transra.backends.tables import Table, ends_of
from pbg_transra.backends.worker_failure import WorkerFailure
from pbg_transra.seeds import seed_of

PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass
class Bench:
    """What a worker holds for good."""

    processor: Processor
    tables: Mapping[str, Table]
    buffers: Sequence[Edges]

    def do(self, segment: Segment, share: slice) -> Trained:
        """Trains a share of the segment's edges; the draw depends on the segment's seed and the share."""
        torch.default_generator.manual_seed(seed_of(segment.seed, share.start))
        edges = self.buffers[segment.buffer][segment.begin + share.start : segment.begin + share.stop]
        return self.processor.process(edges, ends_of(segment, self.tables), segment.rates)


def share_of(size: int, index: int, workers: int) -> slice:
    """A worker's share of `size` edges: shares follow each other, and the first ones are one edge longer."""
    each, longer = divmod(size, workers)
    start = index * each + min(index, longer)
    return slice(start, start + each + (index < longer))


def prepare_worker() -> None:
    """Runs first in every worker: it computes on one thread and dies with its parent."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is not None and os.getppid() != parent.pid:
        os._exit(1)  # it was gone before the line above
    torch.set_num_threads(1)
    torch.multiprocessing.set_sharing_strategy("file_system")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's to handle
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)  # a fork has the parent's handler
    unblock()


def work(connection: Connection, index: int, workers: int, bench: Bench) -> None:
    """A worker's life: one segment after the other. An error is sent back, not raised."""
    prepare_worker()
    bench.processor.worker = index
    while True:
        segment: Segment = connection.recv()
        try:
            connection.send(bench.do(segment, share_of(segment.end - segment.begin, index, workers)))
        except Exception as error:  # whatever it is, the parent raises it
            connection.send(WorkerFailure.of(error))


class Workers:
    """Started once, closed at the end of the block."""

    def __init__(self, count: int, bench: Bench) -> None:
        context: Any = get_context(bench.processor.start_method)
        self._connections: list[Connection] = []
        self._processes: list[BaseProcess] = []
        for index in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=work, args=(theirs, index, count, bench), daemon=True)
            with blocked(), warnings.catch_warnings():  # blocked until it has handlers of its own
                # Python's tracker, killed: it is begun anew, and nothing of ours is in its care
                warnings.filterwarnings("ignore", "resource_tracker: process died unexpectedly")
                process.start()
            theirs.close()
            self._connections.append(ours)
            self._processes.append(process)

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # They hold nothing to tidy up. A SIGTERM would be lost in one that has not yet let go of its parent's handler.
        for process in self._processes:
            process.kill()
            process.join()

    def train(self, segment: Segment) -> "Shares":
        """Hands every worker its share."""
        for connection in self._connections:
            connection.send(segment)
        return Shares(dict(zip(self._connections, self._processes, strict=True)))


class Shares:
    """A segment that workers are training; a Pending (see backend.py)."""

    def __init__(self, waiting: dict[Connection, BaseProcess]) -> None:
        self._waiting = waiting
        self._found: list[Trained] = []

    def result(self) -> Trained:
        self.wait(None)
        return Trained(sum(each.edges for each in self._found), sum(each.loss for each in self._found))

    def wait(self, seconds: float | None) -> bool:
        until = None if seconds is None else time.monotonic() + seconds
        while self._waiting:
            left = None if until is None else max(0.0, until - time.monotonic())
            ready = wait([*self._waiting, *(process.sentinel for process in self._waiting.values())], left)
            for connection in (each for each in ready if isinstance(each, Connection)):
                self._found.append(self._receive(connection, self._waiting.pop(connection)))
            if not ready:
                return False
        return True

    def _receive(self, connection: Connection, process: BaseProcess) -> Trained:
        """The one place where workers' answers come in."""
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
