"""Vectors by row that are trained with sparse gradients: all of them here, or a block of them in each process."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ranker.processes.blocks import Request
from ranker.processes.group import count

DRAWN_ROWS = 1 << 16  # at a time, so that nobody holds more than its block


class Table:
    """(N, D) vectors. `parameter` (R, D) is the block of `block_of(N)`; one process alone holds everything.

    A step of several processes looks up what all of them want, computes, and hands each gradient to whoever holds the
    row, who adds up those of all processes: its sparse step is the one that a process with the whole batch would take.
    """

    def __init__(self, rows: int, block: Tensor) -> None:
        self.rows, self.parameter = rows, nn.Parameter(block)
        self._looked_up: list[tuple[Request, Tensor]] = []  # since the last step

    def __call__(self, rows: Tensor) -> Tensor:
        """Rows (...) -> vectors (..., D). All processes must look up together."""
        if count() == 1:
            return F.embedding(rows, self.parameter, sparse=True)
        wanted, each = torch.unique(rows, return_inverse=True)
        request = Request.of(wanted, self.rows)
        vectors = request.answered(self.parameter.detach().index_select(0, request.asked))
        if torch.is_grad_enabled():
            vectors.requires_grad_()
            self._looked_up.append((request, vectors))
        return vectors.index_select(0, each.flatten()).view(*rows.shape, -1)

    def collect_gradient_(self) -> None:
        """After a backward pass of several processes: the mean of their gradients becomes that of `parameter`, sparse.
        A row that several touched occurs repeatedly in it."""
        if not self._looked_up:
            return
        rows = torch.cat([request.asked for request, _ in self._looked_up])
        values = torch.cat([request.returned(_gradient(vectors)) for request, vectors in self._looked_up])
        self._looked_up.clear()
        found = (rows.unsqueeze(0), values / count(), self.parameter.shape)
        self.parameter.grad = torch.sparse_coo_tensor(*found, check_invariants=False)


def _gradient(vectors: Tensor) -> Tensor:
    return torch.zeros_like(vectors) if vectors.grad is None else vectors.grad


def drawn(rows: int, dim: int, scale: float, block: range) -> Tensor:
    """A block of a table (`rows`, `dim`) of normal numbers: the same numbers, and the same generator afterwards,
    whatever the block."""
    found = torch.empty(len(block), dim)
    starts = range(0, max(rows - DRAWN_ROWS, 0) + 1, DRAWN_ROWS)  # the last takes the rest, too: torch draws by 16
    for first in starts:
        values = torch.randn((rows if first == starts[-1] else first + DRAWN_ROWS) - first, dim)
        begin, end = max(first, block.start), min(first + len(values), block.stop)
        if begin < end:
            found[begin - block.start : end - block.start] = scale * values[begin - first : end - first]
    return found
