"""Watches the workers' counters from a thread and reports where training is."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from pbg_transra.backends.processor import read_counters
from pbg_transra.reports import TrainProgress

INTERVAL = 0.5  # seconds


def counted_together(own: Tensor, others: tuple[float, float]) -> Tensor:
    """Counters of a backend (W, 4), see there, and edges and summed loss of other machines, which count in its time."""
    busy = own[own[:, 3] > 0]
    if not len(busy):
        return own
    row = torch.tensor([[*others, busy[:, 2].min(), busy[:, 3].max()]], dtype=own.dtype)
    return torch.cat([own, row])


class Watch:
    """Reads the counters and reports them. `rate` is in edges/s from the first batch on."""

    def __init__(self, counters: Callable[[], Tensor], total: int, report: Callable[[TrainProgress], None]) -> None:
        self._counters = counters
        self._total = total
        self._report = report
        self._before = (0.0, 0.0)
        self.rate = 0.0

    @property
    def edges(self) -> int:
        """Trained so far."""
        return int(self._before[0])

    def look(self) -> None:
        edges, loss, seconds = read_counters(self._counters())
        if edges <= self._before[0]:
            return
        recent = (loss - self._before[1]) / (edges - self._before[0])
        self._before = (edges, loss)
        self.rate = edges / seconds
        self._report(TrainProgress(int(edges), self._total, seconds, recent))


@contextmanager
def watched(counters: Callable[[], Tensor], total: int, report: Callable[[TrainProgress], None]) -> Iterator[Watch]:
    watch, done = Watch(counters, total, report), threading.Event()

    def loop() -> None:
        while not done.wait(INTERVAL):
            watch.look()

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        done.set()
        thread.join()
        watch.look()
