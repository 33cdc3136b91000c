"""The build, one step after the other: open sources, map entities, spill edges, write buckets, describe the graph."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from artifacts.errors import DataError
from artifacts.graph import SPLITS, EntityType, Graph, Relation, save_graph
from artifacts.publish import write_json
from artifacts.resources import cpu_count
from partitioning.buckets import write_buckets
from partitioning.config import GraphConfig, memory_bytes
from partitioning.edges import EdgeSpill, spill_edges
from partitioning.engine import Engine, translated
from partitioning.entities import EntityMap, map_entities
from partitioning.entity_files import write_entities, write_names
from partitioning.events import Events, NamedRelation, declared_events, named_relations
from partitioning.files import source_files
from partitioning.plan import plan_graph
from partitioning.report import GraphReport
from partitioning.source import open_sources
from partitioning.statistics import Counts, graph_statistics
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
    threads = config.threads or cpu_count()
    engine = Engine(spill / "duckdb", memory_bytes(config.memory_limit), threads)
    try:
        progress("open sources", 0.0)
        sources = open_sources(engine, config, source_files(config, root))
        events = declared_events(engine, config, sources)
        check_times(engine, events)
        relations = named_relations(engine, config, events)
        entities = _entities(engine, config, events, destination, known, progress)
        if not relations:
            raise DataError("graph.relations: no relation has a single edge")
        edges = spill_edges(
            engine, config, events, relations, entities, spill, lambda n: progress("edges", min(n / expected, 1.0))
        )
        rows = {name: int(engine.row(f"SELECT count(*) FROM {s.table}")[0]) for name, s in sources.items()}
        selected = _selected_for_consent(engine, events)
    finally:
        engine.close()
    counts = Counts(edges, relations, entities)
    summed = np.array([relation.config.weight is not None for relation in relations])
    write_buckets(edges, destination, config.seed, threads, summed, counts, lambda done: progress("buckets", done))
    _check_empty(config, relations, edges)
    dropped = {config.relations[i].label: rows - _events_of(i, relations, edges) for i, rows in selected.items()}
    _describe(config, destination, relations, entities, edges, counts, dropped)
    return _report(relations, entities, counts, rows, dropped)


def _entities(
    engine: Engine,
    config: GraphConfig,
    events: list[Events],
    destination: Path,
    known: Path | None,
    progress: Progress,
) -> dict[str, EntityMap]:
    entities = {}
    for done, name in enumerate(config.entities):
        progress("entities", done / len(config.entities))
        entities[name] = map_entities(engine, config, events, name, known, hashed=bool(config.split.random))
        write_entities(engine, entities[name], destination)
        if config.write_names:
            write_names(destination, name, len(entities[name].counts))
    return entities


def _selected_for_consent(engine: Engine, events: list[Events]) -> dict[int, int]:
    """Rows of each declared relation before the question of consent, where that question is asked."""
    rows: dict[int, int] = {}
    for part in (part for part in events if part.consented):
        condition = " AND ".join(part.selected) or "true"
        count = int(engine.row(f"SELECT count(*) FROM {part.source.table} WHERE {condition}")[0])
        rows[part.declared] = rows.get(part.declared, 0) + count
    return rows


def _events_of(declared: int, relations: list[NamedRelation], edges: EdgeSpill) -> int:
    return int(sum(edges.events[i] for i, relation in enumerate(relations) if relation.declared == declared))


def _check_empty(config: GraphConfig, relations: list[NamedRelation], edges: EdgeSpill) -> None:
    """Raises DataError that names every declared relation without an edge that must have some."""
    lines = []
    for index, relation in enumerate(config.relations):
        if not relation.allow_empty and not _events_of(index, relations, edges):
            where = f" where {relation.where}" if relation.where else ""
            lines.append(
                f"graph.relations[{index}]: relation '{relation.label}' has no edges "
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
    dropped: dict[str, int],
) -> None:
    """Writes graph.json, statistics.json and PBG's list of relations."""
    names = [relation.name for relation in relations]
    (destination / "dynamic_rel_count.txt").write_text(f"{len(names)}\n")
    (destination / "dynamic_rel_names.json").write_text(json.dumps(names, indent=4))
    write_json(destination / "statistics.json", graph_statistics(counts, relations, entities, dropped))
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
    counts: Counts,
    rows: dict[str, int],
    dropped: dict[str, int],
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
        without_consent=dropped,
    )
