"""What is minimised."""

from dataclasses import dataclass
from typing import Literal

from pbg_transra.config import ModelConfig, Similarity


@dataclass(frozen=True)
class Objective:
    """The loss of a batch: `negatives` is their number per positive and side, counting those that padding masks."""

    similarity: Similarity
    loss: Literal["softmax", "logistic", "ranking"]
    scale: float
    margin: float
    negatives: int
    pull: float


def make_objective(config: ModelConfig) -> Objective:
    negatives = config.batch_negatives + config.uniform_negatives
    return Objective(config.similarity, config.loss, config.scale, config.margin, negatives, config.pull)
