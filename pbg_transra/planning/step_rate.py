"""How many edges a second workers train side by side, looked at for half a second."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue

import torch
from torch import Tensor
from torchbiggraph.util import split_almost_equally

from artifacts.errors import TransraError
from pbg_transra.backends.divergence import Diverged
from pbg_transra.pbg.compat import prepare_worker
from pbg_transra.training.worker_failure import WorkerFailure
from pbg_transra.training.workers import Bench, Task, context_of

SECONDS = 0.5
WARM_UP = 0.2  # seconds: caches, and pages that a process touches for the first time


def step_rate(bench: Bench, task: Task, workers: int) -> float:
    """Edges/s of all workers together. Raises what a worker raised, and TransraError when one dies."""
    try:
        with repeating(bench, task, workers) as team:
            return measured(bench.processor.counters, team)
    except Diverged as error:
        rates = "model.lr, model.relation_lr or model.scale"
        raise Diverged(f"training diverges in its first steps: {error}; lower {rates}") from error


@dataclass(frozen=True)
class Team:
    """Processes that train their share of a task again and again, and what those that gave up have sent."""

    processes: Sequence[BaseProcess]
    failures: SimpleQueue[WorkerFailure]

    def require_alive(self) -> None:
        """Raises what a worker raised, or TransraError for one that died."""
        if dead := [process.exitcode for process in self.processes if process.exitcode is not None]:
            if not self.failures.empty():
                raise self.failures.get().error()
            raise TransraError(f"a worker that was to measure the speed of training ended with status {dead[0]}")


@contextmanager
def repeating(bench: Bench, task: Task, workers: int) -> Iterator[Team]:
    """Processes that train their share of a task until the block ends."""
    context = context_of(bench.processor)
    shares = [share for share in split_almost_equally(task.end, num_parts=workers) if share.stop > share.start]
    failures = context.SimpleQueue()
    processes = [context.Process(target=repeat, args=(bench, task, share, failures), daemon=True) for share in shares]
    try:
        for process in processes:
            process.start()
        yield Team(processes, failures)
    finally:
        for process in processes:
            process.kill()
            process.join()


def repeat(bench: Bench, task: Task, share: slice, failures: SimpleQueue[WorkerFailure]) -> None:
    prepare_worker()
    try:
        while True:
            bench.do(task, share)
    except Exception as error:
        failures.put(WorkerFailure.of(error))


def measured(counters: Tensor, team: Team) -> float:
    progress(counters, torch.zeros_like(counters), team)
    time.sleep(WARM_UP)
    before = counters.clone()
    time.sleep(SECONDS)
    progress(counters, before, team)
    done = (counters - before)[counters[:, 0] > 0]
    return float((done[:, 0] / done[:, 3]).sum())


def progress(counters: Tensor, before: Tensor, team: Team) -> None:
    """Waits until every process has trained a batch since `before`."""
    while int((counters[:, 0] > before[:, 0]).sum()) < len(team.processes):
        team.require_alive()
        time.sleep(0.005)
