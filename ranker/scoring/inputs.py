"""What the exported network reads: the order of its arguments."""

from typing import NamedTuple

from torch import Tensor


class Inputs(NamedTuple):
    """B rows, with the U vectors and degrees of each entity type that they name.

    `rows` point into those: -1 for an entity that the graph does not know. B and each U are at least 2, since
    torch.export takes a size of 1 for another case.
    """

    numerics: Tensor  # (B, F), NaN where missing
    categoricals: Tensor  # (B, C) int64
    hashes: Tensor  # (B, T) int64, 0 where there is no id
    rows: Tensor  # (B, T) int64
    ages: Tensor  # (B, A) int64
    ids: Tensor  # (B, S, I), ID embeddings of the slots; I is 0 without a table
    vectors: dict[str, Tensor]  # (U, D) by entity type
    degrees: dict[str, Tensor]  # (U, K) int32 by entity type
