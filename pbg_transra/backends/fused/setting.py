"""What a step is given beside its batch."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from pbg_transra.backends.fused.objective import Objective
from pbg_transra.backends.fused.relations import Relations


@dataclass(frozen=True)
class Setting:
    """What the steps of a segment have in common. weights: (R,) of the relations' losses. lr: of entities' vectors."""

    objective: Objective
    relations: Relations
    weights: Tensor
    lr: float


class End(NamedTuple):
    """Where the vectors (n, D) of one side's entities lie, and their sums of Adagrad (n,). `held`: whether the first
    component of those vectors stays what it is."""

    vectors: Tensor
    sums: Tensor
    held: bool
