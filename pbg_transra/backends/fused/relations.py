"""The parameters of all relations in a few shared tensors."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pbg_transra.backends.adagrad import HogwildAdagrad
from pbg_transra.backends.fused.projection import Spaces
from pbg_transra.pbg.operators import TwoSidedOperator


@dataclass(frozen=True)
class Stack:
    """One parameter of many relations, (R, W), and its sums of Adagrad, (R, W)."""

    values: Tensor
    sums: Tensor


def stack_(parameters: Sequence[nn.Parameter], optimizer: HogwildAdagrad) -> Stack:
    """Moves parameters (W,) and their sums into shared memory, one row each; the parameters become views.

    A piece of shared memory per parameter would be 20,000 of them for 10,000 relations.
    """
    stack = Stack(
        torch.stack([parameter.detach() for parameter in parameters]).share_memory_(),
        torch.stack([optimizer.sums[parameter] for parameter in parameters]).share_memory_(),
    )
    for parameter, values, sums in zip(parameters, stack.values, stack.sums, strict=True):
        parameter.data = values
        optimizer.sums[parameter] = sums
    return stack


class Relations:
    """What a batch needs of its relations. All projected relations have the same kind of operator."""

    def __init__(self, operators: Sequence[TwoSidedOperator], optimizer: HogwildAdagrad) -> None:
        """Takes the parameters over from the operators, which keep views of them."""
        self.lr: float = optimizer.lr
        self.translations = stack_([operator.translation for operator in operators], optimizer)
        projected = [operator for operator in operators if operator.projection_names]
        names = projected[0].projection_names if projected else ()
        self.projections = [stack_([getattr(o, name) for o in projected], optimizer) for name in names]
        has_projection = torch.tensor([bool(operator.projection_names) for operator in operators])
        trained = torch.tensor([operator.translation.requires_grad for operator in operators])
        self.fixed = None if trained.all() else ~trained  # translations that stay what they are
        self.rows = (has_projection.cumsum(0) - 1).masked_fill_(~has_projection, -1)

    @property
    def stacks(self) -> list[Stack]:
        """Translations, and one for each projection."""
        return [self.translations, *self.projections]

    def spaces(self, relations: Tensor) -> Spaces:
        """Those of `relations` (G,), which all have a projection or none."""
        rows, dimension = self.rows[relations], self.translations.values.shape[1]
        projections = self.projections if rows[0] >= 0 else []
        squares = tuple(stack.values[rows].view(-1, dimension, dimension) for stack in projections)
        return Spaces(squares, self.translations.values[relations])
