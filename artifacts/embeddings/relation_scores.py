"""How exported relations score pairs: scale * similarity(left(head), right(tail)), see docs/outputs.md."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifacts.embeddings.format import ExportedRelation
from artifacts.embeddings.similarity import similarities

SCORED = ("transra_anchor", "transra", "transra_untied")  # operators; PBG's own act on tails, each in its way

Array = NDArray[Any]


def is_scored(relation: ExportedRelation) -> bool:
    """Whether `scores` knows the relation's operator."""
    return relation.operator in SCORED


def scores(relation: ExportedRelation, head: Array, tails: Array, similarity: str, scale: float) -> Array:
    """The model's scores of one head (D,) with tails (N, D), both as exported: (N,) float32."""
    tied = relation.parameters.get("projection")
    left = relation.parameters.get("left_projection", tied)
    right = relation.parameters.get("right_projection", tied)
    moved = head if left is None else np.asarray(left, np.float32) @ head
    moved = moved + np.asarray(relation.parameters["translation"], np.float32)
    seen = tails if right is None else tails @ np.asarray(right, np.float32).T
    return np.asarray(scale * similarities(moved, seen, similarity), np.float32)
