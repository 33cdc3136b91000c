"""The parameters of all relations in a few shared tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pbg_transra.backends.adagrad import HogwildAdagrad
from pbg_transra.backends.fused.kernels import Kernels
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


class One(NamedTuple):
    """A relation's row (1,) among the projections, and its spaces, views of the stacks."""

    rows: Tensor
    spaces: Spaces


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
        self._ones: dict[int, One] = {}
        self.rows = (has_projection.cumsum(0) - 1).masked_fill_(~has_projection, -1)

    @property
    def stacks(self) -> list[Stack]:
        """Translations, and one for each projection."""
        return [self.translations, *self.projections]

    def spaces(self, relations: Tensor) -> Spaces:
        """Those of `relations` (G,), which all have a projection or none; views where it is one: most batches have
        one."""
        if relations.shape[0] == 1:
            return self._of_one(int(relations[0])).spaces
        rows = self.rows[relations]
        squares = tuple(self._square(stack)[rows] for stack in self._projections(rows))
        return Spaces(squares, self.translations.values[relations])

    def update_(self, relations: Tensor, gradients: Spaces, kernels: Kernels) -> None:
        """Adagrad, in place; a relation may occur more than once."""
        stack = self.translations
        if self.fixed is not None:
            gradients.translations.masked_fill_(self.fixed[relations].unsqueeze(1), 0)
        kernels.step_components_(stack.values, stack.sums, relations, gradients.translations, self.lr)
        if not gradients.projections:
            return
        rows = self._of_one(int(relations[0])).rows if relations.shape[0] == 1 else self.rows[relations]
        for stack, gradient in zip(self.projections, gradients.projections, strict=True):
            kernels.step_components_(stack.values, stack.sums, rows, gradient.flatten(1), self.lr)

    def _of_one(self, relation: int) -> "One":
        if relation not in self._ones:
            rows, slot = self.rows[relation : relation + 1], int(self.rows[relation])
            squares = tuple(self._square(stack)[slot : slot + 1] for stack in self._projections(rows))
            self._ones[relation] = One(rows, Spaces(squares, self.translations.values[relation : relation + 1]))
        return self._ones[relation]

    def _projections(self, rows: Tensor) -> list[Stack]:
        return self.projections if rows[0] >= 0 else []

    def _square(self, stack: Stack) -> Tensor:
        """(R, D * D) as (R, D, D)."""
        dimension = self.translations.values.shape[1]
        return stack.values.view(-1, dimension, dimension)
