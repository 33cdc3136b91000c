"""The buckets of the graph and how an edge is packed into a key."""

from collections.abc import Iterator
from dataclasses import dataclass

from artifacts.formats.graph import Bucket, Side
from partitioning.edges.key import KeyLayout
from partitioning.entities.entity_map import EntityMap
from partitioning.events.relations import NamedRelation


@dataclass(frozen=True)
class Grid:
    """Buckets, row by row: the number of one is its position among all. `layout` fits the largest partitions."""

    lhs_partitions: int
    rhs_partitions: int
    layout: KeyLayout

    @classmethod
    def of(cls, relations: list[NamedRelation], entities: dict[str, EntityMap]) -> "Grid":
        """Raises ResourceError when an edge does not fit a key."""
        lhs, rhs = ([entities[r.config.side(side).type].counts for r in relations] for side in Side)
        layout = KeyLayout.of(len(relations), max(map(max, lhs)), max(map(max, rhs)))
        return cls(max(map(len, lhs)), max(map(len, rhs)), layout)

    def __len__(self) -> int:
        """Number of buckets."""
        return self.lhs_partitions * self.rhs_partitions

    def __iter__(self) -> Iterator[Bucket]:
        return (Bucket(lhs, rhs) for lhs in range(self.lhs_partitions) for rhs in range(self.rhs_partitions))

    def number(self, bucket: Bucket) -> int:
        return bucket.lhs * self.rhs_partitions + bucket.rhs

    def partitions(self, side: Side) -> int:
        """Number of partitions on a side."""
        return side.pick(self.lhs_partitions, self.rhs_partitions)

    def of_partition(self, side: Side, part: int) -> list[Bucket]:
        """The buckets with the edges of a partition on a side: a row or a column."""
        return [bucket for bucket in self if side.pick(*bucket) == part]
