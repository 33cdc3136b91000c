"""The build, one step after the other: open sources, map entities, spill edges, write buckets, describe the graph."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from artifacts.errors import DataError
from artifacts.graph import SPLITS, EntityType, Graph, Relation, save_graph
from artifacts.publish import write_json
from artifacts.resources import cpu_count
from partitioning.buckets import write_buckets
from partitioning.changes import unchanged
from partitioning.config import GraphConfig, memory_bytes
from partitioning.edges import EdgeSpill, spill_edges
from partitioning.engine import Engine, translated
from partitioning.entities import EntityMap, map_entities
from partitioning.entity_files import write_entities, write_names
from partitioning.events import Events, NamedRelation, declared_events, named_relations
from partitioning.files import source_files
from partitioning.forget import read_forgotten
from partitioning.hubs import EntityHashes, capped_types
from partitioning.plan import plan_graph
from partitioning.report import GraphReport
from partitioning.source import open_sources
from partitioning.statistics import Counts, balanced, graph_statistics
from partitioning.thin import thin
from partitioning.times import check_times

Progress = Callable[[str, float], None]


def build_graph(
    config: GraphConfig, root: Path, destination: Path, progress: Progress, known: Path | None
) -> GraphReport:
    """See `partitioning.build_graph`."""
    config = config.with_inverses()
    plan = plan_graph(config, root)
    plan.require(config, destination)
    spill = destination / ".spill"
    spill.mkdir()
    try:
        with translated():
            return _build(config, root, destination, spill, known, max(plan.edges, 1), progress)
    finally:
        shutil.rmtree(spill)


def _build(
    config: GraphConfig,
    root: Path,
    destination: Path,
    spill: Path,
    known: Path | None,
    expected: int,
    progress: Progress,
) -> GraphReport:
    threads, files = config.threads or cpu_count(), source_files(config, root)
    engine = Engine(spill / "duckdb", memory_bytes(config.memory_limit), threads)
    try:
        with unchanged(path for paths in files.values() for path in paths):
            progress("open sources", 0.0)
            sources = open_sources(engine, config, files)
            read_forgotten(engine, config, sources)
            events = declared_events(engine, config, sources)
            check_times(engine, events)
            relations = named_relations(engine, config, events)
            entities = _entities(engine, config, events, destination, known, progress)
            if not relations:
                raise DataError("graph.relations: no relation has a single edge")
            hashes = EntityHashes(spill, entities)
            for type in sorted(capped_types(config)):
                hashes.write(engine, entities[type])
            edges = spill_edges(
                engine, config, events, relations, entities, spill, lambda n: progress("edges", min(n / expected, 1.0))
            )
            rows = {name: int(engine.row(f"SELECT count(*) FROM {s.table}")[0]) for name, s in sources.items()}
            dropped = _without_consent(engine, config, events)
    finally:
        engine.close()
    summed = np.array([relation.config.weight is not None for relation in relations])
    entities = thin(config, relations, entities, edges, hashes, summed, destination)
    if config.write_names:
        for name, map in entities.items():
            write_names(destination, name, len(map.counts))
    counts = Counts(edges, relations, entities)
    write_buckets(edges, destination, config.seed, threads, summed, counts, lambda done: progress("buckets", done))
    _check_empty(config, relations, edges, counts)
    statistics = graph_statistics(counts, relations, entities, dropped, edges.left_out)
    _describe(config, destination, relations, entities, edges, counts, statistics)
    return _report(relations, entities, edges, counts, rows, statistics)


def _entities(
    engine: Engine,
    config: GraphConfig,
    events: list[Events],
    destination: Path,
    known: Path | None,
    progress: Progress,
) -> dict[str, EntityMap]:
    entities, capped = {}, capped_types(config)
    for done, name in enumerate(config.entities):
        progress("entities", done / len(config.entities))
        hashed = bool(config.split.random) or name in capped
        entities[name] = map_entities(engine, config, events, name, known, hashed)
        write_entities(engine, entities[name], destination)
    return entities


def _without_consent(engine: Engine, config: GraphConfig, events: list[Events]) -> dict[str, int]:
    """Rows that are no edges for want of consent, of each declared relation that needs some."""
    rows: Counter[str] = Counter()
    for part in (part for part in events if part.consented):
        selected, agreed = " AND ".join(part.selected) or "true", " AND ".join(part.consented)
        sql = f"SELECT count(*) FROM {part.source.table} WHERE {selected} AND NOT ({agreed})"
        rows[config.relations[part.declared].label] += int(engine.row(sql)[0])
    return dict(rows)


def _check_empty(config: GraphConfig, relations: list[NamedRelation], edges: EdgeSpill, counts: Counts) -> None:
    """Raises DataError that names every declared relation without an edge that must have some."""
    lines = []
    for index, relation in enumerate(config.relations):
        mine = [i for i, named in enumerate(relations) if named.declared == index]
        if not relation.allow_empty and not counts.edges[mine].sum():
            where = f" where {relation.where}" if relation.where else ""
            left = " left after min_degree" if edges.events[mine].sum() else ""
            lines.append(
                f"graph.relations[{index}]: relation '{relation.label}' has no edges{left} "
                f"(source {', '.join(relation.sources)}{where}); set allow_empty if that is expected"
            )
    if lines:
        raise DataError(*lines)


def _describe(
    config: GraphConfig,
    destination: Path,
    relations: list[NamedRelation],
    entities: dict[str, EntityMap],
    edges: EdgeSpill,
    counts: Counts,
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
            consent={r.name: text for r in relations if (text := _consent_text(config, r))},
            window=edges.window,
        ),
    )


def _consent_text(config: GraphConfig, relation: NamedRelation) -> str | None:
    consent = config.consent_of(relation.config)
    if consent is None:
        return None
    if consent.assumed:
        return f"assumed: {consent.assumed}"
    condition = f" where {consent.where}" if consent.where else ""
    return f"source {consent.source}, {consent.type} in column {consent.column}{condition}"


def _report(
    relations: list[NamedRelation],
    entities: dict[str, EntityMap],
    edges: EdgeSpill,
    counts: Counts,
    rows: dict[str, int],
    statistics: dict[str, Any],
) -> GraphReport:
    by_split = np.sum(counts.edges, axis=0).tolist()
    by_type = {name: sum(map.counts) for name, map in entities.items()}
    return GraphReport(
        edges=sum(by_split),
        entities=sum(by_type.values()),
        relations=len(relations),
        edges_by_split=dict(zip(SPLITS, by_split, strict=True)),
        entities_by_type=by_type,
        rows_read=rows,
        without_consent=statistics["without_consent"],
        edges_left_out=dict(edges.left_out),
        known={name: sum(map.known) for name, map in entities.items()},
        cold={name: statistics["entities"][name]["cold"] for name in entities},
        unbalanced=[name for name, map in entities.items() if not balanced(map.counts)],
    )
