"""What trains edges in one process: the fused kernels or autograd."""

import time
from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pbg_transra.backends.adagrad import HogwildAdagrad
from pbg_transra.backends.backend import Rates, Trained
from pbg_transra.backends.edges import Edges
from pbg_transra.backends.tables import Ends
from pbg_transra.config import ModelConfig
from pbg_transra.pbg.embedder import TransRAEmbedder
from pbg_transra.reports import Diverged


class Processor(ABC):
    """Holds the parameters of relations; entities' vectors lie in tables. Every worker has the same one.

    `counters` (workers, 4) is shared, see Backend. `worker` is this process's row of it. Autograd refuses to run in a
    fork, so `start_method` says how workers start that have this processor. `level`: of the kernels that compute, see
    fused/levels.py; "reference" for autograd.
    """

    start_method: ClassVar[Literal["fork", "spawn"]]
    level: str

    def __init__(self, model: TransRAEmbedder, config: ModelConfig, workers: int) -> None:
        self.model = model
        self.optimizer = HogwildAdagrad(model.parameters(), lr=config.relation_lr)
        self.counters = torch.zeros(workers, 4, dtype=torch.double).share_memory_()
        self.worker = 0
        self._batches = 0

    def process(self, edges: Edges, ends: Ends, rates: Rates) -> Trained:
        """Trains edges, which are shuffled, in batches; tables and relations move in place. Raises Diverged."""
        self._batches = 0
        try:
            return self._train(edges, ends, rates)
        except Diverged as error:
            raise Diverged(f"{error} in batch {self._batches + 1} of worker {self.worker}") from error

    @abstractmethod
    def _train(self, edges: Edges, ends: Ends, rates: Rates) -> Trained:
        """What `process` promises, batch by batch, each of which is counted."""

    def _own_counters(self) -> NDArray[np.float64]:
        """(4,): numpy, because torch takes as long to write one number as to multiply a small matrix."""
        own: NDArray[np.float64] = self.counters.numpy()[self.worker]
        return own

    def _count_start(self) -> None:
        own = self._own_counters()
        if not own[2]:
            own[2] = time.time()

    def _count(self, edges: int, loss: float) -> None:
        own = self._own_counters()
        self._batches += 1
        own[0] += edges
        own[1] += loss
        own[3] = time.time()


def read_counters(counters: Tensor) -> tuple[float, float, float]:
    """Edges, summed loss and seconds from the first batch's begin to the last one's end, over all workers."""
    busy = counters[counters[:, 3] > 0]
    if not len(busy):
        return 0.0, 0.0, 0.0
    seconds = float(busy[:, 3].max() - busy[:, 2].min())
    return float(busy[:, 0].sum()), float(busy[:, 1].sum()), seconds


def leave_out_(counters: Tensor, seconds: float) -> None:
    """Keeps seconds in which no worker trained out of the time that counts: what was counted so far moves by them."""
    counters[counters[:, 3] > 0, 2:] += seconds
