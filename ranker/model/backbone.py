"""DCN-v2 (arXiv 2008.13535) in its low-rank form: x_{l+1} = x_0 * (U (V x_l) + b) + x_l."""

from torch import Tensor, nn

from ranker.config.sections import BackboneConfig
from ranker.model.dropout import Dropout


class CrossNetwork(nn.Module):
    """(B, D) -> (B, D): every layer multiplies by the input once more."""

    def __init__(self, width: int, layers: int, rank: int) -> None:
        super().__init__()
        rank = min(rank, width)
        self.down = nn.ModuleList(nn.Linear(width, rank, bias=False) for _ in range(layers))
        self.up = nn.ModuleList(nn.Linear(rank, width) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        crossed = x
        for down, up in zip(self.down, self.up, strict=True):
            crossed = x * up(down(crossed)) + crossed
        return crossed


class Perceptron(nn.Sequential):
    """(B, D) -> (B, hidden[-1])."""

    def __init__(self, width: int, config: BackboneConfig) -> None:
        layers: list[nn.Module] = []
        for hidden in config.hidden:
            layers += [nn.Linear(width, hidden), nn.ReLU(), Dropout(config.dropout)]
            width = hidden
        super().__init__(*layers)
