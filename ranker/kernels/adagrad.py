"""A step of row-wise Adagrad by a sparse gradient, without sorting its rows."""

from torch import Tensor

from ranker.kernels.distinct import distinct
from ranker.kernels.library import compiled


def step_rows_(table: Tensor, squares: Tensor, rows: Tensor, gradients: Tensor, lr: float, epsilon: float) -> None:
    """table (N, D) and the sums `squares` (N,) take a step by the sums of the gradients (M, D) of equal `rows` (M,)."""
    firsts, kinds = distinct(rows)
    sums = gradients.new_zeros(len(firsts), gradients.shape[1])
    compiled().call("sums_by_kind", [gradients.contiguous(), kinds, sums], gradients.shape)
    given = [table, squares, rows.index_select(0, firsts), sums]
    compiled().call("rowwise_adagrad", given, (*sums.shape, lr, epsilon))
