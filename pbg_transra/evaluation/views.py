"""What a relation makes of vectors before they are compared, and how they are compared.

Ranks do not change under `scale` or under the square root of a distance, so scores here are the dot product, the
cosine, or minus half the squared distance but for the query's own norm: each is one matrix product plus a bias per
candidate.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from artifacts.errors import DataError
from artifacts.formats.graph import Graph, Side
from pbg_transra.config import ModelConfig, Similarity
from pbg_transra.pbg.checkpoint import Checkpoint
from pbg_transra.pbg.operators import operator_name
from pbg_transra.pbg.views import OtherOperator, View, operator_views


def plain(vectors: Tensor) -> Tensor:
    """The anchor space itself: what the exported table holds."""
    return vectors


@dataclass(frozen=True)
class Views:
    """A relation's two sides, each (B, D) -> (B, D)."""

    lhs: View = plain
    rhs: View = plain

    def answers(self, side: Side) -> View:
        """Returns the view of the side that is asked for."""
        return side.pick(self.lhs, self.rhs)

    def queries(self, side: Side) -> View:
        """Returns the view of the other side."""
        return side.pick(self.rhs, self.lhs)


def relation_views(graph: Graph, index: int, checkpoint: Checkpoint, model: ModelConfig, dtype: torch.dtype) -> Views:
    """Returns the trained views of a relation; PBG's own operators have no left one.

    Raises DataError when the checkpoint holds the parameters of another operator.
    """
    relation, parameters = graph.relations[index], checkpoint.relation_parameters(index)
    name = operator_name(model, relation)
    try:
        left, right = operator_views(name, model.dimension, parameters, dtype)
    except OtherOperator as error:
        found = {key: values.shape for key, values in parameters.items()}
        raise DataError(
            f"{checkpoint.directory}: checkpoint of another graph or operator: relation '{relation.name}': found "
            f"{found}, operator '{name}' expects {error}"
        ) from error
    return Views(left or plain, right)


def prepared(vectors: Tensor, similarity: Similarity) -> Tensor:
    """Returns queries or candidates (B, D) ready for `scores`. A vector of zeros has cosine 0 with everything."""
    return normalize(vectors, dim=-1) if similarity == "cos" else vectors


def bias(candidates: Tensor, similarity: Similarity) -> Tensor:
    """Returns what every score of a prepared candidate gets on top of its dot product, (C,)."""
    if similarity in ("l2", "squared_l2"):
        return candidates.square().sum(-1).div_(-2)
    return candidates.new_zeros(len(candidates))
