"""Row-wise Adagrad for sparse gradients: one learning rate per row, 4 bytes of state instead of 4 per component."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from ranker.kernels.adagrad import step_rows_
from ranker.kernels.library import computes

EPSILON = 1e-8


class RowwiseAdagrad(torch.optim.Optimizer):
    """Touches only the rows that have a gradient: p -= lr * g / sqrt(sum over steps of mean(g^2)), row by row."""

    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Updates the parameters, (N, D) each with a sparse gradient, in place. `closure` is not called.

        The type is not torch's, which declares a loss for a closure.
        """
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update_(parameter, parameter.grad, group["lr"], self.state[parameter])

    def _update_(self, parameter: Tensor, gradient: Tensor, lr: float, state: dict[str, Any]) -> None:
        if "sum" not in state:
            state["sum"] = torch.zeros(len(parameter), device=parameter.device)
        if computes(parameter, state["sum"], values := gradient._values()):
            step_rows_(parameter, state["sum"], gradient._indices()[0], values, lr, EPSILON)
            return
        gradient = gradient.coalesce()
        rows, values = gradient.indices()[0], gradient.values()
        sums = state["sum"][rows] + values.square().mean(dim=1)
        state["sum"][rows] = sums
        parameter.index_add_(0, rows, values * (-lr / (sums.sqrt() + EPSILON)).unsqueeze(1))
