"""How many edges a second a backend trains, looked at for half a second, or for as long as all of them take."""

import time

import torch
from torch import Tensor

from pbg_transra.backends.backend import Backend, Segment
from pbg_transra.reports import Diverged

SECONDS = 0.5
WARM_UP = 0.2  # seconds: caches, and pages that a process touches for the first time
LOOK = 0.01  # seconds between two looks at what the workers have trained


def step_rate(backend: Backend, segment: Segment, edges: int) -> float:
    """Edges/s. Trains the segment again and again, until `edges` are trained or the time is over, and at least two
    batches; when this returns, it is still being trained.

    The counters are looked at, and not how long a part of the segment takes: fewer edges would make other batches, the
    more relations there are the dearer ones. Raises what training does, and TransraError when a process of the backend
    dies.
    """
    try:
        return _measured(_Repeated(backend, segment, edges))
    except Diverged as error:
        rates = "model.lr, model.relation_lr or model.scale"
        raise Diverged(f"training diverges in its first steps: {error}; lower {rates}") from error


class _Repeated:
    """A segment that is trained until the backend is closed."""

    def __init__(self, backend: Backend, segment: Segment, edges: int) -> None:
        self._backend, self._segment, self._edges = backend, segment, edges
        self._pending = backend.train(segment)

    def go_on(self, seconds: float) -> None:
        until = time.perf_counter() + seconds
        while (left := until - time.perf_counter()) > 0 and float(self.counters()[:, 0].sum()) < self._edges:
            self._train(min(left, LOOK))

    def _train(self, seconds: float) -> None:
        if self._pending.wait(seconds):
            self._pending = self._backend.train(self._segment)

    def counters(self) -> Tensor:
        return self._backend.counters.clone()

    def progress(self, before: Tensor) -> Tensor:
        """The counters, once every worker that has any edges has trained a batch since `before`."""
        while (now := self.counters())[:, 0].le(before[:, 0]).logical_and(self._has_edges(before)).any():
            self._train(LOOK)
        return now

    def _has_edges(self, before: Tensor) -> Tensor:
        return torch.arange(len(before)) < self._segment.end - self._segment.begin


def _measured(repeated: _Repeated) -> float:
    repeated.progress(torch.zeros_like(repeated.counters()))
    repeated.go_on(WARM_UP)
    before = repeated.counters()
    repeated.go_on(SECONDS)
    done = repeated.progress(before) - before
    done = done[done[:, 0] > 0]
    return float((done[:, 0] / done[:, 3]).sum())
