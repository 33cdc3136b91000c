"""What of many keys differs."""

import torch
from torch import Tensor

from ranker.kernels.library import library


def distinct(keys: Tensor) -> tuple[Tensor, Tensor]:
    """int64 keys (N,) -> a place of each kind (U,) among them, and which kind each is (N,).

    Hashed where there is a kernel, else sorted; kinds come in another order then.
    """
    if not keys.is_cuda and (compiled := library()) is not None:
        return compiled.distinct(keys)
    kinds, places = torch.unique(keys, return_inverse=True)
    return torch.empty_like(kinds).scatter_(0, places, torch.arange(len(keys), device=keys.device)), places
