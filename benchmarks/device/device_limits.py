"""What a device can do at most: bytes of memory that it copies in a second, and multiply-adds of matrix products."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

REPEATS = 10


@dataclass(frozen=True)
class Sizes:
    """Of what is measured: bytes that no cache holds, and the sides of square matrices."""

    copied: int
    square: int


SIZES = {"cuda": Sizes(1 << 30, 8192), "cpu": Sizes(1 << 26, 1024)}


def limits(device: torch.device, sizes: Sizes) -> dict[str, float]:
    """bandwidth: bytes/s read and written. multiply_adds: of fp32 products, a second; tf32_...: of products whose
    factors a card rounds, which training does not use."""
    values = torch.zeros(sizes.copied // 4, device=device)
    into = torch.empty_like(values)
    copied = best(device, lambda: into.copy_(values))
    a, b = (torch.randn(sizes.square, sizes.square, device=device) for _ in range(2))
    found = {"bandwidth": 2 * values.nbytes / copied, "multiply_adds": sizes.square**3 / best(device, lambda: a @ b)}
    if device.type == "cuda":
        with rounded_factors():
            found["tf32_multiply_adds"] = sizes.square**3 / best(device, lambda: a @ b)
    return found


@contextmanager
def rounded_factors() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def best(device: torch.device, work: Callable[[], object]) -> float:
    """Seconds, the best of some."""
    found = []
    for _ in range(REPEATS):
        wait(device)
        began = time.perf_counter()
        work()
        wait(device)
        found.append(time.perf_counter() - began)
    return min(found)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
