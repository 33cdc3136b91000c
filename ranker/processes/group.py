"""Which of the processes that train one model this one is, and where it computes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch

# Its default arguments keep the group that exists when it is imported, and torch's optimisers import it: imported only
# then, the group outlives destroy_process_group, and gloo's threads abort the process while the interpreter goes down.
import torch.distributed.nn.functional
from torch import distributed

from artifacts.errors import ConfigError

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
