"""From the crossed features to one logit per task."""

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ranker.config.sections import BackboneConfig, HeadsConfig
from ranker.model.backbone import Perceptron
from ranker.model.repeats import slices

MATCH_SLOPE = 3.0  # first slope of a logit in the mean of the matches, each of which lies in [-1, 1]
MATCH_SPEED = 10.0  # these few weights move so much faster than others under Adam's steps of one size


class SharedBottom(nn.Module):
    """(B, D) -> {task: (B, H)}: one perceptron for all tasks."""

    def __init__(self, width: int, tasks: tuple[str, ...], backbone: BackboneConfig) -> None:
        super().__init__()
        self.tasks = tasks
        self.bottom = Perceptron(width, backbone)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        shared = self.bottom(x)
        return dict.fromkeys(self.tasks, shared)


class MixtureOfExperts(nn.Module):
    """(B, D) -> {task: (B, H)}: each task weighs the experts by a gate of its own (MMoE, KDD 2018)."""

    def __init__(self, width: int, tasks: tuple[str, ...], backbone: BackboneConfig, experts: int) -> None:
        super().__init__()
        self.experts = nn.ModuleList(Perceptron(width, backbone) for _ in range(experts))
        self.gates = nn.ModuleDict({task: nn.Linear(width, experts) for task in tasks})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        answers = torch.stack([expert(x) for expert in self.experts], dim=1)
        weights = {task: gate(x).softmax(dim=1).unsqueeze(1) for task, gate in self.gates.items()}
        return {task: (weight @ answers).squeeze(1) for task, weight in weights.items()}


def tower(width: int, rate: float) -> nn.Linear:
    """Starts at the base rate: training need not spend steps to find it."""
    layer = nn.Linear(width, 1)
    nn.init.constant_(layer.bias, math.log(rate / (1 - rate)))
    return layer


def wide(width: int) -> nn.Linear:
    """Starts near zero, so that the first answer is the tower's."""
    layer = nn.Linear(width, 1)
    with torch.no_grad():
        layer.weight.mul_(0.1)
    nn.init.zeros_(layer.bias)
    return layer


class Heads(nn.Module):
    """(B, D) features and (B, M) matches -> {task: (B,) logits}.

    A task starts at its base rate, which `rates` gives, moved by how well user and ad match in the graph: conversions
    are too rare to find that out again.
    """

    def __init__(
        self, width: int, matches: int, rates: dict[str, float], config: HeadsConfig, backbone: BackboneConfig
    ) -> None:
        super().__init__()
        tasks = tuple(rates)
        self.mixer = (
            MixtureOfExperts(width, tasks, backbone, config.experts)
            if config.kind == "mmoe"
            else SharedBottom(width, tasks, backbone)
        )
        self.towers = nn.ModuleDict({task: tower(backbone.hidden[-1], rate) for task, rate in rates.items()})
        self.wide = nn.ModuleDict({task: wide(width) for task in tasks})
        first = MATCH_SLOPE / (MATCH_SPEED * max(matches, 1))
        self.match = nn.ParameterDict({task: torch.full((matches,), first) for task in tasks if matches})

    def forward(self, x: Tensor, matches: Tensor | None) -> dict[str, Tensor]:
        mixed, wide = self.mixer(x), self._of_features(x)
        logits = {task: tower(mixed[task]).squeeze(1) + wide[task] for task, tower in self.towers.items()}
        if matches is not None:
            logits = {task: logit + MATCH_SPEED * (matches @ self.match[task]) for task, logit in logits.items()}
        return logits

    def _of_features(self, x: Tensor) -> dict[str, Tensor]:
        """What the features (B, D) themselves add to the logits, {task: (B,)}: one product for all tasks."""
        layers = [cast(nn.Linear, layer) for layer in self.wide.values()]
        weights, biases = torch.cat([layer.weight for layer in layers]), torch.cat([layer.bias for layer in layers])
        return dict(zip(self.wide, slices(F.linear(x, weights, biases)), strict=True))
