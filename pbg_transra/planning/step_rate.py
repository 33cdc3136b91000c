"""How many edges a second workers train side by side, looked at for half a second."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess

import torch
from torch import Tensor
from torchbiggraph.util import split_almost_equally

from artifacts.errors import TransraError
from pbg_transra.pbg.compat import prepare_worker
from pbg_transra.training.workers import Bench, Task, context_of

SECONDS = 0.5
WARM_UP = 0.2  # seconds: caches, and pages that a process touches for the first time


def step_rate(bench: Bench, task: Task, workers: int) -> float:
    """Edges/s of all workers together. Raises TransraError when one dies."""
    with repeating(bench, task, workers) as processes:
        return measured(bench.processor.counters, processes)


@contextmanager
def repeating(bench: Bench, task: Task, workers: int) -> Iterator[Sequence[BaseProcess]]:
    """Processes that train their share of a task again and again."""
    context = context_of(bench.processor)
    shares = [share for share in split_almost_equally(task.end, num_parts=workers) if share.stop > share.start]
    processes = [context.Process(target=repeat, args=(bench, task, share), daemon=True) for share in shares]
    try:
        for process in processes:
            process.start()
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.join()


def repeat(bench: Bench, task: Task, share: slice) -> None:
    prepare_worker()
    while True:
        bench.do(task, share)


def measured(counters: Tensor, processes: Sequence[BaseProcess]) -> float:
    progress(counters, torch.zeros_like(counters), processes)
    time.sleep(WARM_UP)
    before = counters.clone()
    time.sleep(SECONDS)
    progress(counters, before, processes)
    done = (counters - before)[counters[:, 0] > 0]
    return float((done[:, 0] / done[:, 3]).sum())


def progress(counters: Tensor, before: Tensor, processes: Sequence[BaseProcess]) -> None:
    """Waits until every process has trained a batch since `before`."""
    while int((counters[:, 0] > before[:, 0]).sum()) < len(processes):
        if dead := [process.exitcode for process in processes if process.exitcode is not None]:
            raise TransraError(f"a worker that was to measure the speed of training ended with status {dead[0]}")
        time.sleep(0.005)
