"""Leaves out what the config does not want of a graph: edges beyond a hub's cap, entities below a minimum degree."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from partitioning.buckets.bucket_edges import take_bucket
from partitioning.config.sections import GraphConfig
from partitioning.edges.entity_hashes import EntityHashes
from partitioning.edges.spill import EdgeSpill, SpilledEdges
from partitioning.entities.entity_map import EntityMap
from partitioning.events.relations import NamedRelation
from partitioning.ledger.history import NoHistory
from partitioning.thinning.hub_cap import cap_hubs
from partitioning.thinning.min_degree import MinDegree


class Thinned(NamedTuple):
    """The entities of a thinned graph and the edges that it leaves out.

    `seen` counts those that an earlier split has, `left_out` the others by reason.
    """

    entities: dict[str, EntityMap]
    seen: int
    left_out: dict[str, int]


def thin(
    config: GraphConfig,
    relations: list[NamedRelation],
    entities: dict[str, EntityMap],
    spill: EdgeSpill,
    hashes: EntityHashes,
    summed: NDArray[np.bool_],
    directory: Path,
) -> Thinned:
    """Thins the spill and the id files in `directory`.

    Degrees count edges as the graph has them, so repeats are summed first; hubs are capped before degrees count. All
    events are read: the config refuses both beside append-only sources.
    """
    capped = any(side.max_degree for relation in config.relations for side in relation.sides.values())
    least = any(entity.min_degree for entity in config.entities.values())
    if not capped and not least:
        return Thinned(entities, 0, {})
    seen, left_out = 0, {}
    for bucket in spill.grid:
        for split, edges in enumerate(take_bucket(spill, NoHistory(len(relations)), bucket, summed, config.seed)):
            spill.put(split, bucket, SpilledEdges(edges.keys, edges.units))
            seen += edges.seen
    if capped:
        left_out["max_degree"] = cap_hubs(spill, config.seed, relations, hashes)
    if least:
        degrees = MinDegree(spill, config, relations, entities)
        left_out["min_degree"] = degrees.remove_below()
        entities = degrees.renumber(directory)
    return Thinned(entities, seen, left_out)
