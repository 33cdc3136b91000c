"""DCN-v2 (arXiv 2008.13535) in its low-rank form, x_{l+1} = x_0 * (U (V x_l) + b) + x_l: by kernels, or in torch."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ranker.config.sections import BackboneConfig
from ranker.kernels.cross import CrossLayers
from ranker.kernels.library import computes
from ranker.kernels.perceptron import PerceptronLayers
from ranker.model.dropout import Dropout, draws


class CrossNetwork(nn.Module):
    """(B, D) -> (B, D): every layer multiplies by the input once more."""

    def __init__(self, width: int, layers: int, rank: int) -> None:
        super().__init__()
        rank = min(rank, width)
        self.down = nn.ModuleList(nn.Linear(width, rank, bias=False) for _ in range(layers))
        self.up = nn.ModuleList(nn.Linear(rank, width) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        down, up = _linear(self.down), _linear(self.up)
        if down and computes(x, *self.parameters()):
            matrices = (torch.stack([layer.weight for layer in layers]) for layers in (down, up))
            found: Tensor = CrossLayers.apply(x, *matrices, torch.stack([layer.bias for layer in up]))
            return found
        crossed = x
        for lowered, raised in zip(self.down, self.up, strict=True):
            crossed = x * raised(lowered(crossed)) + crossed
        return crossed


class Perceptron(nn.Sequential):
    """(B, D) -> (B, hidden[-1])."""

    def __init__(self, width: int, config: BackboneConfig) -> None:
        layers: list[nn.Module] = []
        for hidden in config.hidden:
            layers += [nn.Linear(width, hidden), nn.ReLU(), Dropout(config.dropout)]
            width = hidden
        super().__init__(*layers)
        self.widths, self.hidden = config.hidden, Dropout(config.dropout).hidden

    def forward(self, x: Tensor) -> Tensor:
        linear = _linear(self)
        if not computes(x, *self.parameters()):
            for layer in self:
                x = layer(x)
            return x
        drawn = None
        if self.training and self.hidden:  # the same numbers in the same order as by layers
            drawn = torch.cat([draws(len(x) * width, x.device) for width in self.widths])
        parameters = [layer.weight for layer in linear] + [layer.bias for layer in linear]
        answer: Tensor = PerceptronLayers.apply(x, drawn, self.hidden, *parameters)
        return answer


def _linear(layers: Iterable[nn.Module]) -> list[nn.Linear]:
    return [layer for layer in layers if isinstance(layer, nn.Linear)]
