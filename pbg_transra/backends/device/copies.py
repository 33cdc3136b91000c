"""Copies between the host and a device, on a stream of their own: they run while another thread trains."""

import torch
from torch import Tensor


class Copies:
    """`stage` gives host memory that a card can copy from by itself (pinned); on a CPU it is ordinary memory."""

    def __init__(self, device: torch.device) -> None:
        self._on_card = device.type == "cuda"
        self._stream = torch.cuda.Stream(device) if self._on_card else None

    def stage(self, *shape: int, dtype: torch.dtype = torch.float) -> Tensor:
        return torch.empty(shape, dtype=dtype, pin_memory=self._on_card)

    def copy(self, *pairs: tuple[Tensor, Tensor]) -> None:
        """Copies the second tensor of each pair into the first; returns when all is there."""
        with torch.cuda.stream(self._stream):
            for into, values in pairs:
                into.copy_(values, non_blocking=True)
        if self._stream is not None:
            self._stream.synchronize()
