"""`model.tail_bias`: the first component of an anchor's tail is a bias, its heads have a constant there.

So the bias, times the constant, is a part of the plain inner product of exported vectors: how popular a tail is need
not be told by the length of its vector, which regularization holds small.
"""

from collections.abc import Iterable
from typing import Protocol

from pbg_transra.config import ModelConfig

# The heads' constant. Adagrad's sums are of rows: with a large one a bias takes all of its row's steps. By recall on
# validation pairs of five graphs 0.17 was above 0.3, 0.55 and 1 on each (docs/results.md).
CONSTANT = 0.17


class RelationTypes(Protocol):
    """A relation's name, and the types on its sides."""

    @property
    def name(self) -> str: ...

    @property
    def lhs(self) -> str: ...

    @property
    def rhs(self) -> str: ...


def constant_types(relations: Iterable[RelationTypes], config: ModelConfig) -> frozenset[str]:
    """Types whose first component is CONSTANT and is not trained: heads of anchors, where there are biases."""
    if not config.tail_bias:
        return frozenset()
    return frozenset(relation.lhs for relation in relations if relation.name in config.anchors)


def types_on_both_sides(relations: Iterable[RelationTypes], config: ModelConfig) -> frozenset[str]:
    """Types that are heads of an anchor and tails of one: they would need a constant and a bias in one place."""
    anchors = [relation for relation in relations if relation.name in config.anchors]
    return constant_types(anchors, config) & {relation.rhs for relation in anchors}
