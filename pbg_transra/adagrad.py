"""Adagrad that several processes may run on the same shared tensors without locks (HOGWILD).

PBG 1.0.0 adds the squared gradient to the shared sum and then divides by whatever the sum holds by that time. Another
worker may just have overwritten it with a smaller one, and a step is amplified up to 1e10. Here a step divides by a
local copy of the sum plus its own squared gradient, so no step is ever longer than the learning rate (times sqrt(D) for
one component of a row).
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

EPSILON = 1e-10


class HogwildOptimizer(Optimizer):
    """What both have in common: sums in shared memory, and the learning rate of the config, also after a resume."""

    def __init__(self, params: Iterable[Tensor], lr: float) -> None:
        super().__init__(params, {"lr": lr})
        for parameter in self._parameters():
            self.state[parameter]["sum"] = self.new_sum(parameter)

    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self.param_groups for parameter in group["params"]]

    def new_sum(self, parameter: Tensor) -> Tensor:
        raise NotImplementedError

    def update_(self, parameter: Tensor, gradient: Tensor, total: Tensor, lr: float) -> None:
        """Moves `parameter` and `total` in place."""
        raise NotImplementedError

    def share_memory(self) -> None:
        for parameter in self._parameters():
            self.state[parameter]["sum"].share_memory_()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the sums but not the learning rate: PBG lets a saved one override the config's."""
        rates = [group["lr"] for group in self.param_groups]
        super().load_state_dict(state_dict)
        for group, rate in zip(self.param_groups, rates, strict=True):
            group["lr"] = rate

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
        square = gradient * gradient
        divisor = (total + square).sqrt_().add_(EPSILON)
        total.add_(square)
        parameter.addcdiv_(gradient, divisor, value=-lr)


class HogwildRowAdagrad(HogwildOptimizer):
    """Adagrad with one sum per row, the mean squared gradient: for entity tables (N, D) with sparse gradients."""

    def new_sum(self, parameter: Tensor) -> Tensor:
        return torch.zeros(len(parameter), dtype=parameter.dtype)

    def update_(self, parameter: Tensor, gradient: Tensor, total: Tensor, lr: float) -> None:
        gradient = gradient.coalesce()  # the update is not linear: each row once
        rows, values = gradient.indices()[0], gradient.values()
        square = (values * values).mean(1)
        divisor = (total[rows] + square).sqrt_().add_(EPSILON)
        total.index_add_(0, rows, square)
        parameter.index_add_(0, rows, values / divisor.unsqueeze(1), alpha=-lr)
