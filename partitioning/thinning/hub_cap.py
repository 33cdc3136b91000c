"""The hub cap: an entity with too many edges of a relation keeps those with the lowest portable hash."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partitioning.config.sections import GraphConfig
from partitioning.edges.edge_hash import edge_hash, originals
from partitioning.edges.key import Indices, Keys
from partitioning.edges.spill import EdgeSpill
from partitioning.entities.entity_map import EntityMap
from partitioning.events.relations import NamedRelation
from partitioning.sources.engine import Engine, translated

_BATCH = 1 << 20


def capped_types(config: GraphConfig) -> set[str]:
    """Types whose hashes are needed: both ends of every relation with a cap."""
    capped = (r for r in config.relations if r.lhs.max_degree or r.rhs.max_degree)
    return {side.type for relation in capped for side in relation.sides.values()}


class EntityHashes:
    """The md5 hashes of entities by type, partition and offset, in files below the spill directory."""

    def __init__(self, directory: Path, entities: dict[str, EntityMap]) -> None:
        self._directory = directory
        self._starts = {name: np.array(map.starts, np.int64) for name, map in entities.items()}

    def write(self, engine: Engine, entities: EntityMap) -> None:
        """Writes the hashes of a type from its map, which must have them."""
        batches = engine.batches(f"SELECT hash FROM {entities.table}", _BATCH)
        with translated(), self._path(entities.type).open("wb") as file:
            for batch in batches:
                np.from_dlpack(batch.column(0)).tofile(file)

    def of(self, types: list[str], relation: Indices, part: Indices, offsets: Indices) -> Keys:
        """Hashes (N,) of the entities at offsets (N,) of partitions (N,); `types` are those of the relations."""
        hashes = np.empty(len(offsets), np.uint64)
        for name in sorted(set(types)):
            rows = np.flatnonzero(np.array([name == type for type in types])[relation])
            if len(rows):
                known = np.memmap(self._path(name), np.uint64, "r")
                hashes[rows] = known[self._starts[name][part[rows]] + offsets[rows]]
        return hashes

    def _path(self, type: str) -> Path:
        return self._directory / f"hash-{type}"


def cap_hubs(spill: EdgeSpill, seed: int, relations: list[NamedRelation], hashes: EntityHashes) -> int:
    """Removes training edges beyond `max_degree` from the spill; returns how many.

    The left side comes first, and the right side counts what that has left; with an inverse the other way round, so
    that it keeps the same edges.
    """
    turned = originals(relations)
    is_inverse = np.array([relation.name in turned for relation in relations])
    removed = 0
    for side, inverses in (("lhs", False), ("rhs", True), ("rhs", False), ("lhs", True)):
        asked = [relation.config.sides[side].max_degree for relation in relations]
        caps = np.array([cap or 0 for cap in asked]) * (is_inverse == inverses)
        if caps.any():
            parts = spill.grid.lhs_partitions if side == "lhs" else spill.grid.rhs_partitions
            for part in range(parts):
                removed += _cap_partition(spill, side, part, caps, f"{seed}\tmax_degree", relations, hashes)
    return removed


def _cap_partition(
    spill: EdgeSpill,
    side: str,
    part: int,
    caps: Indices,
    purpose: str,
    relations: list[NamedRelation],
    hashes: EntityHashes,
) -> int:
    """Caps all entities of a partition: their edges lie in one row or one column of buckets."""
    grid = spill.grid
    row = [part * grid.rhs_partitions + j for j in range(grid.rhs_partitions)]
    column = [i * grid.rhs_partitions + part for i in range(grid.lhs_partitions)]
    buckets = row if side == "lhs" else column
    taken = [(spill.keys(0, bucket), spill.units(0, bucket)) for bucket in buckets]
    keys = np.concatenate([keys for keys, _ in taken])
    bucket = np.repeat(buckets, [len(keys) for keys, _ in taken])
    keep = ~_beyond(spill, side, keys, bucket, caps, purpose, relations, hashes)
    start = 0
    for at, (kept, units) in zip(buckets, taken, strict=True):
        mine = keep[start : start + len(kept)]
        spill.put(0, at, kept[mine], units[mine] if spill.weighted else None)
        start += len(kept)
    return int(len(keep) - np.count_nonzero(keep))


def _beyond(
    spill: EdgeSpill,
    side: str,
    keys: Keys,
    bucket: Indices,
    caps: Indices,
    purpose: str,
    relations: list[NamedRelation],
    hashes: EntityHashes,
) -> NDArray[np.bool_]:
    """Which of the edges (N,) are beyond the cap of their entity on a side."""
    layout = spill.grid.layout
    relation, lhs, rhs = layout.relation(keys), layout.lhs(keys), layout.rhs(keys)
    bits = layout.lhs_bits if side == "lhs" else layout.rhs_bits
    entity = np.where(caps[relation] > 0, (relation << bits) | (lhs if side == "lhs" else rhs), -1)
    _, at, degrees = np.unique(entity, return_inverse=True, return_counts=True)
    hub = np.flatnonzero((entity >= 0) & (degrees[at] > caps[relation]))
    part, types = bucket[hub], {s: [r.config.sides[s].type for r in relations] for s in ("lhs", "rhs")}
    lhs_hash = hashes.of(types["lhs"], relation[hub], part // spill.grid.rhs_partitions, lhs[hub])
    rhs_hash = hashes.of(types["rhs"], relation[hub], part % spill.grid.rhs_partitions, rhs[hub])
    drawn = edge_hash(purpose, relations, relation[hub], lhs_hash, rhs_hash)
    order = np.lexsort((keys[hub], drawn, entity[hub]))
    hub = hub[order]
    first = np.append(True, entity[hub][1:] != entity[hub][:-1])[: len(hub)]
    starts = np.flatnonzero(first)
    rank = np.arange(len(hub)) - np.repeat(starts, np.diff(np.append(starts, len(hub))))
    beyond = np.zeros(len(keys), np.bool_)
    beyond[hub[rank >= caps[relation[hub]]]] = True
    return beyond
