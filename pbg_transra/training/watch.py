"""Watches the workers' counters from a thread and reports where training is."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pbg_transra.backends.reference import Processor, read_counters

INTERVAL = 0.5  # seconds


@dataclass(frozen=True)
class TrainProgress:
    """Where training is: edges of this command, seconds since its first batch, mean loss per edge of late."""

    edges: int
    total_edges: int
    seconds: float
    loss: float


class Watch:
    """Reads the counters and reports them. `rate` is in edges/s from the first batch on."""

    def __init__(self, processor: Processor, total: int, report: Callable[[TrainProgress], None]) -> None:
        self._counters = processor.counters
        self._total = total
        self._report = report
        self._before = (0.0, 0.0)
        self.rate = 0.0

    def look(self) -> None:
        edges, loss, seconds = read_counters(self._counters)
        if edges <= self._before[0]:
            return
        recent = (loss - self._before[1]) / (edges - self._before[0])
        self._before = (edges, loss)
        self.rate = edges / seconds
        self._report(TrainProgress(int(edges), self._total, seconds, recent))


@contextmanager
def watched(processor: Processor, total: int, report: Callable[[TrainProgress], None]) -> Iterator[Watch]:
    watch, done = Watch(processor, total, report), threading.Event()

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
