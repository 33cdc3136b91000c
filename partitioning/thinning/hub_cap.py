"""The hub cap: an entity with too many edges of a relation keeps those with the lowest portable hash."""

import numpy as np
from numpy.typing import NDArray

from artifacts.formats.graph import Side
from partitioning.config.sections import GraphConfig
from partitioning.edges.edge_hash import edge_hash, inverses
from partitioning.edges.entity_hashes import EntityHashes
from partitioning.edges.grid import Grid
from partitioning.edges.key import Indices, Keys
from partitioning.edges.spill import EdgeSpill
from partitioning.events.relations import NamedRelation


def capped_types(config: GraphConfig) -> set[str]:
    """Types whose hashes are needed: both ends of every relation with a cap."""
    capped = (r for r in config.relations if any(side.max_degree for side in r.sides.values()))
    return {side.type for relation in capped for side in relation.sides.values()}


def cap_hubs(spill: EdgeSpill, seed: int, relations: list[NamedRelation], hashes: EntityHashes) -> int:
    """Removes training edges beyond `max_degree` from the spill; returns how many.

    The left side comes first, and the right side counts what that has left; with an inverse the other way round, so
    that it keeps the same edges.
    """
    turned = inverses(relations)
    is_inverse = np.array([relation.name in turned for relation in relations])
    order = ((Side.LHS, False), (Side.RHS, True), (Side.RHS, False), (Side.LHS, True))
    removed = 0
    for side, inverse in order:
        asked = [relation.config.side(side).max_degree for relation in relations]
        caps = np.array([cap or 0 for cap in asked]) * (is_inverse == inverse)
        if caps.any():
            cap = _Cap(side, caps, f"{seed}\tmax_degree", relations, hashes)
            removed += sum(_cap_partition(spill, cap, part) for part in range(spill.grid.partitions(side)))
    return removed


def _cap_partition(spill: EdgeSpill, cap: "_Cap", part: int) -> int:
    """Caps all entities of a partition: their edges lie in one row or one column of buckets."""
    buckets = spill.grid.of_partition(cap.side, part)
    taken = [spill.take_edges(0, bucket) for bucket in buckets]
    keys = np.concatenate([edges.keys for edges in taken])
    numbers = np.repeat([spill.grid.number(bucket) for bucket in buckets], [len(edges.keys) for edges in taken])
    keep = ~cap.beyond(spill.grid, keys, numbers)
    start = 0
    for bucket, edges in zip(buckets, taken, strict=True):
        spill.put(0, bucket, edges.where(keep[start : start + len(edges.keys)]))
        start += len(edges.keys)
    return int(len(keep) - np.count_nonzero(keep))


class _Cap:
    """The caps of relations (relations,) on a side, 0 where there is none."""

    def __init__(
        self, side: Side, caps: Indices, purpose: str, relations: list[NamedRelation], hashes: EntityHashes
    ) -> None:
        self.side, self._caps, self._purpose = side, caps, purpose
        self._relations, self._hashes = relations, hashes

    def beyond(self, grid: Grid, keys: Keys, bucket: Indices) -> NDArray[np.bool_]:
        """Which of the edges (N,), with the numbers of their buckets (N,), are beyond the cap of their entity."""
        relation, offsets = grid.layout.relation(keys), grid.layout.offsets(self.side, keys)
        bits = self.side.pick(grid.layout.lhs_bits, grid.layout.rhs_bits)
        entity = np.where(self._caps[relation] > 0, (relation << bits) | offsets, -1)
        _, at, degrees = np.unique(entity, return_inverse=True, return_counts=True)
        hub = np.flatnonzero((entity >= 0) & (degrees[at] > self._caps[relation]))
        hub = hub[np.lexsort((keys[hub], self._edge_hash(grid, keys[hub], bucket[hub]), entity[hub]))]
        starts = np.flatnonzero(np.append(True, entity[hub][1:] != entity[hub][:-1])[: len(hub)])
        rank = np.arange(len(hub)) - np.repeat(starts, np.diff(np.append(starts, len(hub))))
        beyond = np.zeros(len(keys), np.bool_)
        beyond[hub[rank >= self._caps[relation[hub]]]] = True
        return beyond

    def _edge_hash(self, grid: Grid, keys: Keys, bucket: Indices) -> Keys:
        """Portable hashes (N,) of edges (N,)."""
        relation, parts = grid.layout.relation(keys), np.divmod(bucket, grid.rhs_partitions)
        lhs_hash, rhs_hash = (
            self._hashes.of(
                [r.config.side(side).type for r in self._relations],
                relation,
                side.pick(*parts),
                grid.layout.offsets(side, keys),
            )
            for side in Side
        )
        return edge_hash(self._purpose, self._relations, relation, lhs_hash, rhs_hash)
