"""Leaves out what the config does not want of a graph: edges beyond a hub's cap, entities below a minimum degree."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partitioning.buckets.buckets import fresh_edges
from partitioning.config.sections import GraphConfig
from partitioning.edges.spill import EdgeSpill
from partitioning.entities.entity_map import EntityMap
from partitioning.events.relations import NamedRelation
from partitioning.thinning.hub_cap import EntityHashes, cap_hubs
from partitioning.thinning.min_degree import Core


def thin(
    config: GraphConfig,
    relations: list[NamedRelation],
    entities: dict[str, EntityMap],
    spill: EdgeSpill,
    hashes: EntityHashes,
    summed: NDArray[np.bool_],
    directory: Path,
) -> dict[str, EntityMap]:
    """Thins the spill and the id files in `directory`; returns the maps of what is left.

    Degrees count edges as the graph has them, so repeats are summed first; hubs are capped before degrees count.
    """
    capped = any(relation.lhs.max_degree or relation.rhs.max_degree for relation in config.relations)
    least = any(entity.min_degree for entity in config.entities.values())
    if not capped and not least:
        return entities
    for bucket in range(spill.grid.buckets):
        for split, edges in enumerate(fresh_edges(spill, bucket, summed, config.seed)):
            spill.put(split, bucket, edges.keys, edges.units)
            spill.left_out["seen_before"] += edges.seen
    if capped:
        spill.left_out["max_degree"] = cap_hubs(spill, config.seed, relations, hashes)
    if not least:
        return entities
    core = Core(spill, config, relations, entities)
    core.settle()
    spill.left_out["min_degree"] = core.removed
    return core.close_ranks(directory)
