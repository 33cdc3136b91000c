"""Adagrad that several processes may run on the same shared tensors without locks (HOGWILD).

PBG 1.0.0 adds the squared gradient to the shared sum and then divides by whatever the sum holds by that time. Another
worker may just have overwritten it with a smaller one, and a step is amplified up to 1e10. Here a step divides by a
local copy of the sum plus its own squared gradient, so no step is ever longer than the learning rate (times sqrt(D) for
one component of a row).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

EPSILON = 1e-10


class HogwildOptimizer(ABC):
    """What both have in common: parameters, their sums, which may lie in shared memory, and a learning rate.

    No torch.optim.Optimizer: the first of those that a process makes imports torch._dynamo, which takes longer than all
    else before a training begins.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, sums: Sequence[Tensor] | None = None) -> None:
        """`sums`: one for each parameter, taken as they are; new ones by default. There may be no parameter at all."""
        parameters = list(params)
        self.lr = lr
        self.sums = dict(zip(parameters, sums or map(self.new_sum, parameters), strict=True))  # by parameter

    @abstractmethod
    def new_sum(self, parameter: Tensor) -> Tensor:
        """Zeros for a parameter."""

    @abstractmethod
    def update_(self, parameter: Tensor, gradient: Tensor, total: Tensor) -> None:
        """Moves `parameter` and `total` in place."""

    @torch.no_grad()
    def step(self) -> None:
        for parameter, total in self.sums.items():
            if parameter.grad is not None:
                self.update_(parameter, parameter.grad, total)


class HogwildAdagrad(HogwildOptimizer):
    """Adagrad with a sum per component: for the parameters of relations."""

    def new_sum(self, parameter: Tensor) -> Tensor:
        return torch.zeros_like(parameter)

    def update_(self, parameter: Tensor, gradient: Tensor, total: Tensor) -> None:
        step_components_(parameter, total, gradient, self.lr)


class HogwildRowAdagrad(HogwildOptimizer):
    """Adagrad with one sum per row, the mean squared gradient: for entity tables (N, D) with sparse gradients."""

    def new_sum(self, parameter: Tensor) -> Tensor:
        return torch.zeros(len(parameter), dtype=parameter.dtype)

    def update_(self, parameter: Tensor, gradient: Tensor, total: Tensor) -> None:
        gradient = gradient.coalesce()  # the update is not linear: each row once
        step_rows_(parameter, total, gradient.indices()[0], gradient.values(), self.lr)


def step_components_(values: Tensor, sums: Tensor, gradient: Tensor, lr: float) -> None:
    """Moves `values` and `sums` in place; all three have one shape."""
    square = gradient * gradient
    divisor = (sums + square).sqrt_().add_(EPSILON)
    sums.add_(square)
    values.addcdiv_(gradient, divisor, value=-lr)


def step_rows_(table: Tensor, sums: Tensor, rows: Tensor, gradients: Tensor, lr: float) -> None:
    """Moves rows of `table` (N, D) and of `sums` (N,) in place. `rows` (n,) are distinct, `gradients` (n, D) theirs."""
    square = (gradients * gradients).mean(1)
    divisor = (sums[rows] + square).sqrt_().add_(EPSILON)
    sums.index_add_(0, rows, square)
    table.index_add_(0, rows, gradients / divisor.unsqueeze(1), alpha=-lr)
