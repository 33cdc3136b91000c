"""How learning rates fall from the config's to zero in the course of a training."""

import math
from collections.abc import Callable

from pbg_transra.backends.backend import Rates
from pbg_transra.config import Decay, ModelConfig

FACTORS: dict[Decay, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "linear": lambda done: 1.0 - done,
    "cosine": lambda done: (1.0 + math.cos(math.pi * done)) / 2,  # arXiv 1608.03983, without restarts
}


def rates_at(config: ModelConfig, done: float) -> Rates:
    """Those of the config times the schedule's factor; `done`, in [0, 1], is the share of the training that is over.

    A pure function, so a training that goes on after a kill takes the same steps. `model.epochs` is the whole, also
    when it was changed on the way.
    """
    factor = FACTORS[config.schedule](done)
    return Rates(config.lr * factor, config.relation_lr * factor)
