"""What processes tell each other: values of the first, means of gradients, rows of everyone."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, distributed

from ranker.processes.group import count, device, place


def from_first(make: Callable[[], Any]) -> Any:
    """The JSON value that the first process makes, in all of them."""
    if count() == 1:
        return make()
    text = json.dumps(make()).encode() if place() == 0 else b""
    length = torch.tensor([len(text)], device=device())
    distributed.broadcast(length, 0)
    data = torch.frombuffer(bytearray(text or bytes(int(length))), dtype=torch.uint8).to(device())
    distributed.broadcast(data, 0)
    return json.loads(bytes(data.tolist()))


def take_first_(parameters: Iterable[Tensor]) -> None:
    """Replaces parameters by those of the first process: another machine's libraries may have made other ones."""
    if count() > 1:
        for parameter in parameters:
            distributed.broadcast(parameter.detach(), 0)


def mean_(values: Sequence[Tensor]) -> None:
    """Replaces each tensor by its mean over all processes, in one message."""
    if count() == 1:
        return
    flat = torch.cat([one.flatten() for one in values])
    distributed.all_reduce(flat)
    for one, mean in zip(values, (flat / count()).split([v.numel() for v in values]), strict=True):
        one.copy_(mean.view_as(one))


def gathered(own: Tensor) -> Tensor:
    """The rows (R, ...) of all processes, which may have different R, one after the other."""
    if count() == 1:
        return own
    lengths = [torch.zeros(1, dtype=torch.int64, device=own.device) for _ in range(count())]
    distributed.all_gather(lengths, torch.tensor([len(own)], device=own.device))
    longest = int(max(lengths))
    padded = own.new_zeros(longest, *own.shape[1:])
    padded[: len(own)] = own
    found = [torch.empty_like(padded) for _ in lengths]
    distributed.all_gather(found, padded)
    return torch.cat([part[: int(length)] for part, length in zip(found, lengths, strict=True)])
