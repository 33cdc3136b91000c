"""Where every entity stands in one array per partition that holds all types, one after the other."""

from collections.abc import Iterable

import numpy as np

from artifacts.formats.graph import Side
from partitioning.edges.key import Indices
from partitioning.entities.entity_map import EntityMap
from partitioning.events.relations import NamedRelation


class Positions:
    """Positions of entities in such arrays. `sizes` are the lengths of the arrays, by partition."""

    def __init__(self, relations: list[NamedRelation], entities: Iterable[EntityMap]) -> None:
        maps = list(entities)
        parts = range(max(len(e.counts) for e in maps))
        sizes = [[e.counts[part] if part < len(e.counts) else 0 for e in maps] for part in parts]
        self._starts = [np.concatenate([[0], np.cumsum(row)]) for row in sizes]
        self._types = {e.type: at for at, e in enumerate(maps)}
        self._of_relation = {
            side: np.array([self._types[relation.config.side(side).type] for relation in relations], np.int64)
            for side in Side
        }
        self.sizes = [int(starts[-1]) for starts in self._starts]

    def of(self, side: Side, part: int, relation: Indices, offsets: Indices) -> Indices:
        """Positions (N,) of the entities at offsets (N,) on a side of edges with relation indices (N,)."""
        return self._starts[part][self._of_relation[side]][relation] + offsets

    def of_type(self, type: str) -> list[slice]:
        """The stretch of a type, in each partition."""
        at = self._types[type]
        return [slice(int(starts[at]), int(starts[at + 1])) for starts in self._starts]
