"""What a graph says of itself, to us and to PBG."""

import json
from pathlib import Path
from typing import Any

from artifacts.files.publish import write_json
from artifacts.formats.graph import SPLITS, EntityType, Graph, Relation, save_graph
from partitioning.buckets.counts import GraphCounts
from partitioning.config.sections import GraphConfig
from partitioning.edges.stream import Window
from partitioning.entities.entity_map import EntityMap
from partitioning.events.relations import NamedRelation


def write_graph_files(
    config: GraphConfig,
    destination: Path,
    relations: list[NamedRelation],
    entities: dict[str, EntityMap],
    window: Window,
    counts: GraphCounts,
    statistics: dict[str, Any],
) -> None:
    """Writes graph.json, statistics.json and PBG's list of relations."""
    names = [relation.name for relation in relations]
    (destination / "dynamic_rel_count.txt").write_text(f"{len(names)}\n")
    (destination / "dynamic_rel_names.json").write_text(json.dumps(names, indent=4))
    write_json(destination / "statistics.json", statistics)
    save_graph(
        destination,
        Graph(
            entity_types=tuple(EntityType(name, map.counts) for name, map in entities.items()),
            relations=tuple(
                Relation(
                    name=relation.name,
                    lhs=relation.config.lhs.type,
                    rhs=relation.config.rhs.type,
                    domain=relation.config.domain,
                    edges=dict(zip(SPLITS, counts.edges[index].tolist(), strict=True)),
                    weighted=relation.config.weight is not None,
                )
                for index, relation in enumerate(relations)
            ),
            consent={r.name: consent.text for r in relations if (consent := config.consent_of(r.config))},
            window=window,
        ),
    )
