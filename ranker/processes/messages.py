"""What processes tell each other: values of the first, means of gradients, rows of everyone."""

import json
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, distributed

from artifacts.differences import differences
from artifacts.errors import ConfigError
from ranker.processes.group import count, device, place, reaching


def from_first(make: Callable[[], Any]) -> Any:
    """The JSON value that the first process makes, in all of them."""
    if count() == 1:
        return make()
    return json.loads(_of_first(json.dumps(make()).encode() if place() == 0 else b""))


@reaching()
def _of_first(text: bytes) -> bytes:
    length = torch.tensor([len(text)], device=device())
    distributed.broadcast(length, 0)
    data = torch.frombuffer(bytearray(text or bytes(int(length))), dtype=torch.uint8).to(device())
    distributed.broadcast(data, 0)
    return bytes(data.tolist())


def require_same(what: Mapping[str, Any]) -> None:
    """Raises ConfigError in all processes unless their JSON values are the same; it names the first that differs."""
    own = json.dumps([socket.gethostname(), what]).encode()
    texts = gathered(torch.frombuffer(bytearray(own), dtype=torch.uint8))
    ends = gathered(torch.tensor([len(own)])).cumsum(0).tolist()
    (_, first), *others = (
        json.loads(bytes(texts[begin:end].tolist())) for begin, end in zip([0, *ends], ends, strict=False)
    )
    for number, (host, other) in enumerate(others, 1):
        if changes := differences(first, other):
            raise ConfigError(f"process {number} ({host}) is not like process 0: {'; '.join(changes)}")


@reaching()
def take_first_(parameters: Iterable[Tensor]) -> None:
    """Replaces parameters by those of the first process: another machine's libraries may have made other ones."""
    if count() > 1:
        for parameter in parameters:
            distributed.broadcast(parameter.detach(), 0)


@reaching()
def mean_(values: Sequence[Tensor]) -> None:
    """Replaces each tensor by its mean over all processes, in one message."""
    if count() == 1:
        return
    flat = torch.cat([one.flatten() for one in values])
    distributed.all_reduce(flat)
    for one, mean in zip(values, (flat / count()).split([v.numel() for v in values]), strict=True):
        one.copy_(mean.view_as(one))


@reaching()
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
