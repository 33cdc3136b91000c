"""AdamW for a network, and a row-wise Adagrad for tables of which a batch touches a few rows.

No torch.optim.Optimizer: the first of those that a process makes imports torch._dynamo, which takes longer than to
train on a small log.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from ranker.kernels.adagrad import step_rows_
from ranker.kernels.library import computes

EPSILON = 1e-8
BETAS = (0.9, 0.999)


class Optimizer(ABC):
    """Parameters, their learning rate, and what is kept of each from its first gradient on (`state`)."""

    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        self.parameters, self.lr = list(parameters), lr
        self.state: dict[Tensor, dict[str, Tensor]] = {}

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    @abstractmethod
    def step(self) -> None:
        """Updates, in place, the parameters that have a gradient."""

    def state_dict(self) -> dict[str, Any]:
        """As torch's optimisers write it: the state of each parameter by its number."""
        return {"state": {n: self.state[one] for n, one in enumerate(self.parameters) if one in self.state}}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Takes over a copy of what `state_dict` gave."""
        self.state = {
            self.parameters[number]: {name: value.clone() for name, value in state.items()}
            for number, state in saved["state"].items()
        }


class AdamW(Optimizer):
    """That of torch, all parameters in one call."""

    def __init__(self, parameters: Iterable[Tensor], lr: float, weight_decay: float) -> None:
        super().__init__(parameters, lr)
        self.weight_decay = weight_decay

    @torch.no_grad()
    def step(self) -> None:
        moved = [parameter for parameter in self.parameters if parameter.grad is not None]
        for one in moved:
            if one not in self.state:
                self.state[one] = {
                    "step": torch.zeros((), device=one.device),
                    "exp_avg": torch.zeros_like(one),
                    "exp_avg_sq": torch.zeros_like(one),
                }
        gradients = [parameter.grad for parameter in moved if parameter.grad is not None]
        means, squares, steps = ([self.state[one][name] for one in moved] for name in ("exp_avg", "exp_avg_sq", "step"))
        adamw(
            moved,
            gradients,
            means,
            squares,
            [],
            steps,
            fused=True,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=self.lr,
            weight_decay=self.weight_decay,
            eps=EPSILON,
            maximize=False,
        )


class RowwiseAdagrad(Optimizer):
    """For sparse gradients: one learning rate per row, 4 bytes of state instead of 4 per component.

    Touches only the rows that have a gradient: p -= lr * g / sqrt(sum over steps of mean(g^2)), row by row.
    """

    @torch.no_grad()
    def step(self) -> None:
        for parameter in self.parameters:
            if parameter.grad is not None:
                self._update_(parameter, parameter.grad, self.state.setdefault(parameter, {}))

    def _update_(self, parameter: Tensor, gradient: Tensor, state: dict[str, Tensor]) -> None:
        if "sum" not in state:
            state["sum"] = torch.zeros(len(parameter), device=parameter.device)
        if computes(parameter, state["sum"], values := gradient._values()):
            step_rows_(parameter, state["sum"], gradient._indices()[0], values, self.lr, EPSILON)
            return
        gradient = gradient.coalesce()
        rows, values = gradient.indices()[0], gradient.values()
        sums = state["sum"][rows] + values.square().mean(dim=1)
        state["sum"][rows] = sums
        parameter.index_add_(0, rows, values * (-self.lr / (sums.sqrt() + EPSILON)).unsqueeze(1))
