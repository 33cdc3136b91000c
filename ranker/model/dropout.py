"""Dropout whose mask takes a quarter of the draws: four components share one random number of 64 bits."""

import torch
from torch import Tensor, nn

BITS = 16  # of a component
LEAST = -(1 << 63)  # of the random numbers


class Dropout(nn.Module):
    """In training hides `share` of the components, to a precision of 2**-BITS, and scales up what is left."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.hidden = min(round(share * (1 << BITS)), (1 << BITS) - 1)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.hidden:
            return x
        drawn = draws(x.numel(), x.device).view(torch.int16)[: x.numel()].view(x.shape)
        kept = (drawn >= self.hidden - (1 << (BITS - 1))).to(x.dtype)
        return x * kept.mul_((1 << BITS) / ((1 << BITS) - self.hidden))


def draws(components: int, device: torch.device) -> Tensor:
    """Random numbers of 64 bits, four components in each."""
    return torch.empty(-(-components * BITS // 64), dtype=torch.int64, device=device).random_(LEAST, None)
