"""What is minimised."""

from dataclasses import dataclass
from typing import Literal

from pbg_transra.config import ModelConfig, Similarity


@dataclass(frozen=True)
class Objective:
    """The loss of a batch: `negatives` is their number per positive and side, counting those that padding masks.

    `head_weight` is a factor on the loss of finding the head; at 0 that side is not computed.
    """

    similarity: Similarity
    loss: Literal["softmax", "logistic", "ranking"]
    scale: float
    margin: float
    negatives: int
    pull: float
    regularization: float
    head_weight: float
    tail_bias: bool


def make_objective(config: ModelConfig) -> Objective:
    negatives = config.batch_negatives + config.uniform_negatives
    return Objective(
        similarity=config.similarity,
        loss=config.loss,
        scale=config.scale,
        margin=config.margin,
        negatives=negatives,
        pull=config.pull,
        regularization=config.regularization,
        head_weight=config.head_weight,
        tail_bias=config.tail_bias,
    )
