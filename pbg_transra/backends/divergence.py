"""What it means that a training diverged: a loss, a vector or a parameter is a NaN or an infinity.

Losses are looked at after each batch, the rest before it is saved, so no checkpoint holds any.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from artifacts.formats.graph import Bucket
from pbg_transra.reports import Diverged


def bad_loss(relation: str, loss: float) -> Diverged:
    """A batch's loss is not finite."""
    return Diverged(f"relation '{relation}' has loss {loss}")


def require_finite(name: str, values: Tensor) -> None:
    """Raises Diverged naming the first row of values (N, ...) with a NaN or an infinity.

    A sum shows either, and takes no memory beside the values'; only a suspicious one is looked into.
    """
    if values.sum().isfinite():
        return
    bad = (~values.isfinite()).flatten(1 if values.dim() > 1 else 0)
    rows = bad.any(1) if values.dim() > 1 else bad
    if rows.any():
        raise Diverged(f"{name} has a NaN or an infinity in row {int(rows.nonzero()[0])}")


@contextmanager
def located(epoch: int, bucket: Bucket) -> Iterator[None]:
    """Says of what diverges in the block where training was, and what can be done."""
    try:
        yield
    except Diverged as error:
        raise Diverged(
            f"training diverged in epoch {epoch}, bucket ({bucket.lhs}, {bucket.rhs}): {error}; the last checkpoint is "
            f"whole: the same command with a lower model.lr or model.relation_lr goes on from there"
        ) from error
