"""How many edges a second a backend trains, looked at for half a second."""

import time
from dataclasses import replace

from pbg_transra.backends.backend import Backend, Segment
from pbg_transra.backends.divergence import Diverged

SECONDS = 0.5
WARM_UP = 0.2  # seconds: caches, and pages that a process touches for the first time
PART = 0.05  # seconds that a part should take at least: handing it out then costs next to nothing


def step_rate(backend: Backend, segment: Segment, first: int) -> float:
    """Edges/s. Trains parts of the segment again and again, the first ones of `first` edges. Raises what training does,
    and TransraError when a process of the backend dies."""
    try:
        return measured(backend, segment, first)
    except Diverged as error:
        rates = "model.lr, model.relation_lr or model.scale"
        raise Diverged(f"training diverges in its first steps: {error}; lower {rates}") from error


def measured(backend: Backend, segment: Segment, first: int) -> float:
    edges = min(first, segment.end)
    seconds_of(backend, segment, edges)  # processes may have to start
    until, seconds = time.perf_counter() + WARM_UP, 0.0
    while time.perf_counter() < until or (seconds < PART and edges < segment.end):
        seconds = seconds_of(backend, segment, edges)
        edges = min(2 * edges, segment.end) if seconds < PART else edges
    trained, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < SECONDS:
        seconds_of(backend, segment, edges)
        trained += edges
    return trained / passed


def seconds_of(backend: Backend, segment: Segment, edges: int) -> float:
    """How long its first edges take."""
    began = time.perf_counter()
    backend.train(replace(segment, end=edges)).result()
    return time.perf_counter() - began
