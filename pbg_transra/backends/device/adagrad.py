"""Adagrad on a device: learning rates lie there, too, and the same gradients always give the same bytes.

A device adds in no fixed order where several threads add to one number, and floating point tells the difference. So the
gradients of a row are added up one after the other, and only zeros are added beside what is left.
"""

import torch
from torch import Tensor

from pbg_transra.backends.adagrad import EPSILON

PIECE = 32  # gradients of a row that are added one after the other, before the sums of such pieces are


def step_rows_(table: Tensor, sums: Tensor, rows: Tensor, gradients: Tensor, lr: Tensor) -> None:
    """Row-wise Adagrad on `table` (N, D) and `sums` (N,). `rows` (n,) may repeat; gradients: (n, D); lr: a scalar."""
    rows, gradients = added_up(rows, gradients)
    square = gradients.square().mean(1)
    factors = -lr / (sums[rows] + square).sqrt_().add_(EPSILON)
    sums.index_add_(0, rows, square)
    table.index_add_(0, rows, gradients * factors.unsqueeze(1))


def step_components_(table: Tensor, sums: Tensor, rows: Tensor, gradients: Tensor, lr: Tensor) -> None:
    """Adagrad on rows of `table` and `sums`, both (R, W). `rows` (n,) may repeat; gradients: (n, W); lr: a scalar."""
    rows, gradients = added_up(rows, gradients)
    square = gradients.square()
    divisor = (sums[rows] + square).sqrt_().add_(EPSILON)
    sums.index_add_(0, rows, square)
    table.index_add_(0, rows, gradients * -lr / divisor)


def added_up(rows: Tensor, gradients: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (n,) in order, and the sum of a row's gradients (n, W) where it comes first, zeros where it comes again.

    Shapes do not depend on how many are distinct, so nothing waits for the device. Long runs are added in pieces, since
    a popular row's one after the other would take longer than the rest of the step.
    """
    if len(rows) == 1:
        return rows, gradients
    rows, order = rows.sort(stable=True)
    first = torch.ones_like(rows, dtype=torch.bool)
    torch.ne(rows[1:], rows[:-1], out=first[1:])
    numbers = torch.arange(len(rows), device=rows.device)
    sums = of_runs(first | (numbers % PIECE == 0), gradients[order])
    # What lies at the begin of a piece in which a row goes on belongs to where that row came first.
    carried = sums[::PIECE].masked_fill(first[::PIECE].unsqueeze(1), 0)
    owners = torch.where(first, numbers, 0).cummax(0).values[::PIECE]
    begins = torch.ones_like(owners, dtype=torch.bool)
    torch.ne(owners[1:], owners[:-1], out=begins[1:])
    sums.masked_fill_(~first.unsqueeze(1), 0)
    return rows, sums.index_add_(0, owners, of_runs(begins, carried))


def of_runs(begins: Tensor, values: Tensor) -> Tensor:
    """Sums of runs of rows (n, W) where `begins` (n,) is true, zeros elsewhere; the first is."""
    count = len(values)
    numbers = torch.where(begins, torch.arange(count, device=begins.device), count)
    offsets = torch.cat([numbers, numbers.new_full((1,), count)]).flip(0).cummin(0).values.flip(0)
    return torch.segment_reduce(values.contiguous(), "sum", offsets=offsets, axis=0, unsafe=True, initial=0)
