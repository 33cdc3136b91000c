"""What every rank trains a copy of: what each has moved it by comes together.

As in PyTorch-BigGraph's parameter server, a rank sends what it has moved since it was last answered, and gets what all
have come to; nobody waits for anybody. Sums of Adagrad are added up, as they would be on one machine.
"""

import time
from typing import Protocol

import numpy as np
import torch

from pbg_transra.backends.backend import RelationState
from pbg_transra.ranks.coordinator import Agreement
from pbg_transra.ranks.wire import NO_FLOATS, Floats

LEAST_SECONDS = 0.2  # between two exchanges
SHARE = 0.05  # of the time, at most, that exchanges take


def flat(state: RelationState) -> Floats:
    """(2V,): all parameters, then their sums."""
    sums = state.sums or {key: torch.zeros_like(values) for key, values in state.parameters.items()}
    parts = [*state.parameters.values(), *(sums[key] for key in state.parameters)]
    return np.concatenate([part.detach().reshape(-1).numpy() for part in parts] or [NO_FLOATS])


def unflat(values: Floats, like: RelationState) -> RelationState:
    """The state of the same names and shapes."""
    shapes = [tensor.shape for tensor in like.parameters.values()] * 2
    parts = torch.from_numpy(values).split([shape.numel() for shape in shapes])
    found = [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
    keys, count = list(like.parameters), len(like.parameters)
    return RelationState(dict(zip(keys, found[:count], strict=True)), dict(zip(keys, found[count:], strict=True)))


class Shared(Protocol):
    """A rank's copy of what all train, as one array (V,) of the same order everywhere. Not while a segment trains."""

    def read(self) -> Floats: ...

    def write(self, values: Floats) -> None: ...


class SharedValues:
    """Keeps a rank's copy in step with the others'. Not while a segment trains."""

    def __init__(self, rank: int, agreement: Agreement, shared: Shared) -> None:
        self._rank, self._agreement, self._shared = rank, agreement, shared
        self._base = NO_FLOATS
        self._due = 0.0

    def take(self) -> None:
        """Replaces it by what all have."""
        self._load(self._agreement.exchange(self._rank, NO_FLOATS))

    def exchange(self) -> None:
        """Brings what was moved here together with what others have moved."""
        began = time.monotonic()
        self._load(self._agreement.exchange(self._rank, self._shared.read() - self._base))
        took = time.monotonic() - began
        self._due = began + took + max(LEAST_SECONDS, took * (1 / SHARE - 1))

    @property
    def due(self) -> bool:
        return time.monotonic() >= self._due

    def _load(self, values: Floats) -> None:
        self._base = values
        self._shared.write(values)
