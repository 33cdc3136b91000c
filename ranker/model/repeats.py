"""What repeats among the rows of a batch is computed once; what lists are padded with is left out.

It pays on a CPU, where a step is bound by products and by memory. A graph that is traced has no room for sizes that
follow from data: there, and on a GPU, all is computed for every row, which gives the same.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ranker.data.batch import Batch
from ranker.data.ids.slots import Slot
from ranker.kernels.distinct import distinct

GROUPS, GROUP_ROWS = 3, 256  # of rows whose lists are about as long, and how many rows pay for one
ROW_BITS = 31  # of a row of an export and 1


class Distinct(NamedTuple):
    """One row (U,) of each kind of a batch's rows, and which kind each of the batch (B,) is; None where all differ."""

    chosen: Tensor | None = None
    kinds: Tensor | None = None

    @classmethod
    def of(cls, batch: Batch, slots: Sequence[Slot]) -> "Distinct":
        """Rows differ where the ids of `slots` do, which hold one id each."""
        if not _pays(batch.rows):
            return cls()
        kinds, firsts = torch.zeros(len(batch.rows), dtype=torch.int64), None
        for slot in slots:
            ids = (batch.hashes[:, slot.first] << ROW_BITS) + batch.rows[:, slot.first] + 1
            _, numbers = distinct(ids)
            firsts, kinds = distinct(kinds * len(kinds) + numbers)
        return cls(firsts, kinds)

    def once(self, values: Tensor) -> Tensor:
        """(B, ...) -> (U, ...)."""
        return values if self.chosen is None else values.index_select(0, self.chosen)

    def each(self, values: Tensor, rows: Tensor | None = None) -> Tensor:
        """(U, ...) -> (B, ...), or (R, ...) for some rows (R,) of the batch."""
        if self.kinds is None:
            return values if rows is None else values.index_select(0, rows)
        return values.index_select(0, self.kinds if rows is None else self.kinds[rows])


def different(rows: Tensor) -> tuple[Tensor, Tensor | None]:
    """Rows (...) of a table -> those that differ (U,), and which of them each is (...); all of them and None."""
    if not _pays(rows):
        return rows, None
    firsts, places = distinct(flat := rows.flatten())
    return flat.index_select(0, firsts), places.view_as(rows)


def by_length(known: Tensor) -> Iterator[tuple[Tensor | None, int]]:
    """Rows (R,) of lists (B, L) whose last `known` element is about as far from the front, and how far at most.

    None stands for all rows. No group has width 0.
    """
    rows, length = known.shape
    if not _pays(known) or rows < 2 * GROUP_ROWS:
        yield None, length
        return
    groups = min(rows // GROUP_ROWS, GROUPS)
    ordered, order = (known * torch.arange(1, length + 1)).amax(dim=1).sort()
    for group, lengths in zip(order.tensor_split(groups), ordered.tensor_split(groups), strict=True):
        yield group, max(int(lengths[-1]), 1)


def in_order(groups: Sequence[Tensor | None], values: Sequence[Tensor]) -> Tensor:
    """Groups of rows, as `by_length` gave them, and their values (R, ...) -> (B, ...)."""
    rows = [group for group in groups if group is not None]
    return torch.cat(list(values)).index_select(0, torch.cat(rows).argsort()) if rows else values[0]


def slices(values: Tensor) -> Sequence[Tensor]:
    """(B, N, ...) -> N of (B, ...), whose gradients are put together once; a graph that is traced knows no tuples."""
    if torch.compiler.is_exporting():
        return [values.select(1, place) for place in range(values.shape[1])]
    return values.unbind(dim=1)


def _pays(values: Tensor) -> bool:
    return not torch.compiler.is_exporting() and not values.is_cuda and len(values) > 0
