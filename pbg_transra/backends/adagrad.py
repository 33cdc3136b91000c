"""Adagrad that several processes may run on the same shared tensors without locks (HOGWILD).

PBG 1.0.0 adds the squared gradient to the shared sum and then divides by whatever the sum holds by that time. Another
worker may just have overwritten it with a smaller one, and a step is amplified up to 1e10. Here a step divides by a
local copy of the sum plus its own squared gradient, so no step is ever longer than the learning rate (times sqrt(D) for
one component of a row).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

EPSILON = 1e-10


class HogwildOptimizer(Optimizer):
    """What both have in common: sums in shared memory, and the learning rate of the config, also after a resume."""

    def __init__(self, params: Iterable[Tensor], lr: float, sums: Sequence[Tensor] | None = None) -> None:
        """`sums`: one for each parameter, taken as they are; new ones by default. There may be no parameter at all."""
        super().__init__([{"params": list(params)}], {"lr": lr})  # a group, since torch refuses an empty list
        parameters = self.parameters
        for parameter, total in zip(parameters, sums or map(self.new_sum, parameters), strict=True):
            self.state[parameter]["sum"] = total

    @property
    def parameters(self) -> list[Tensor]:
        return [parameter for group in self.param_groups for parameter in group["params"]]

    @property
    def sums(self) -> list[Tensor]:
        """Those of `parameters`, in that order."""
        return [self.state[parameter]["sum"] for parameter in self.parameters]

    def set_lr(self, lr: float) -> None:
        """The learning rate from now on."""
        for group in self.param_groups:
            group["lr"] = lr

    def new_sum(self, parameter: Tensor) -> Tensor:
        raise NotImplementedError

    def update_(self, parameter: Tensor, gradient: Tensor, total: Tensor, lr: float) -> None:
        """Moves `parameter` and `total` in place."""
        raise NotImplementedError

    def share_memory(self) -> None:
        for total in self.sums:
            total.share_memory_()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the sums but not the learning rate: PBG lets a saved one override the config's.

        The sums are copied in place, because they may be views of what others hold.
        """
        for total, saved in zip(self.sums, state_dict["state"].values(), strict=True):
            total.copy_(saved["sum"])

    # torch's returns the loss of a closure.
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.update_(parameter, parameter.grad, self.state[parameter]["sum"], group["lr"])


class HogwildAdagrad(HogwildOptimizer):
    """Adagrad with a sum per component: for the parameters of relations."""

    def new_sum(self, parameter: Tensor) -> Tensor:
        return torch.zeros_like(parameter)

    def update_(self, parameter: Tensor, gradient: Tensor, total: Tensor, lr: float) -> None:
        step_components_(parameter, total, gradient, lr)


class HogwildRowAdagrad(HogwildOptimizer):
    """Adagrad with one sum per row, the mean squared gradient: for entity tables (N, D) with sparse gradients."""

    def new_sum(self, parameter: Tensor) -> Tensor:
        return torch.zeros(len(parameter), dtype=parameter.dtype)

    def update_(self, parameter: Tensor, gradient: Tensor, total: Tensor, lr: float) -> None:
        gradient = gradient.coalesce()  # the update is not linear: each row once
        step_rows_(parameter, total, gradient.indices()[0], gradient.values(), lr)


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
