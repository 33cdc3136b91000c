"""One process, or several that train one model: each takes its share of every batch, and all take the same step.

Gradients are averaged after the backward pass. Of the tables only touched rows travel, and every process takes the same
sparse step on its own copy. (DistributedDataParallel would have to be told by a private call to leave the tables out,
and what remains is too small to be worth overlapping.)
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch

# Its default arguments keep the group that exists when it is imported, and torch's optimisers import it: imported only
# then, the group outlives destroy_process_group, and gloo's threads abort the process while the interpreter goes down.
import torch.distributed.nn.functional
from torch import Tensor, distributed

from artifacts.errors import ConfigError
from ranker.data.records import Records

WAIT = timedelta(hours=6)  # the others wait while the first prepares and judges; torchrun ends them when it fails


@contextmanager
def joined() -> Iterator[None]:
    """Joins the processes that torchrun started together with this one, if it did."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(device())
    distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=WAIT)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def count() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


def place() -> int:
    """Which of the processes this one is, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def device(asked: str = "auto") -> torch.device:
    """The GPU of this process, where there is one, unless `ranker.device` is "cpu"."""
    if asked == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))


def require_device(asked: str) -> None:
    """Raises ConfigError where `ranker.device` asks for a GPU and there is none."""
    if asked == "cuda" and not torch.cuda.is_available():
        expected = "expected 'cpu' or 'auto'"
        raise ConfigError(f"ranker.device: 'cuda': torch {torch.__version__} sees no GPU here; {expected}")


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


def share(batch: Records) -> tuple[Records, float]:
    """This process's part of a batch, and its weight: the batch's mean is the mean of the weighted means of all parts.

    A process without a part computes the first row for nothing.
    """
    if count() == 1:
        return batch, 1.0
    part = batch[place() :: count()]
    return (part, len(part) * count() / len(batch)) if len(part) else (batch[:1], 0.0)


def take_first_(parameters: Iterable[Tensor]) -> None:
    """Replaces parameters by those of the first process: another machine's libraries may have made other ones."""
    if count() > 1:
        for parameter in parameters:
            distributed.broadcast(parameter.detach(), 0)


def average_gradients_(parameters: Iterable[Tensor]) -> None:
    """Replaces each gradient by its mean over all processes: dense ones in one message, sparse ones (N, D) by rows."""
    if count() == 1:
        return
    found = [(parameter, parameter.grad) for parameter in parameters if parameter.grad is not None]
    dense = [gradient for _, gradient in found if not gradient.is_sparse]
    flat = torch.cat([gradient.flatten() for gradient in dense])
    distributed.all_reduce(flat)
    for gradient, mean in zip(dense, (flat / count()).split([g.numel() for g in dense]), strict=True):
        gradient.copy_(mean.view_as(gradient))
    for parameter, gradient in found:
        if gradient.is_sparse:
            parameter.grad = _mean_of_rows(gradient.coalesce())


def _mean_of_rows(own: Tensor) -> Tensor:
    """Of sparse gradients (N, D), of which only the touched rows travel; rows that several touched occur repeatedly."""
    rows, values = _gathered(own.indices()[0]), _gathered(own.values())
    return torch.sparse_coo_tensor(rows.unsqueeze(0), values / count(), own.shape, check_invariants=False)


def _gathered(own: Tensor) -> Tensor:
    """The rows (R, ...) of all processes, which may have different R, one after the other."""
    lengths = [torch.zeros(1, dtype=torch.int64, device=own.device) for _ in range(count())]
    distributed.all_gather(lengths, torch.tensor([len(own)], device=own.device))
    longest = int(max(lengths))
    padded = own.new_zeros(longest, *own.shape[1:])
    padded[: len(own)] = own
    found = [torch.empty_like(padded) for _ in lengths]
    distributed.all_gather(found, padded)
    return torch.cat([part[: int(length)] for part, length in zip(found, lengths, strict=True)])
