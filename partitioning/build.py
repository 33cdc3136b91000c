"""The build, one step after the other: open sources, map entities, spill edges, write buckets, describe the graph."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from artifacts.errors import DataError
from artifacts.frame import Frame
from artifacts.graph import SPLITS
from artifacts.resources import cpu_count
from partitioning.buckets.buckets import write_buckets
from partitioning.buckets.counts import Counts
from partitioning.buckets.graph_files import describe
from partitioning.buckets.statistics import balanced, graph_statistics
from partitioning.config.sections import GraphConfig
from partitioning.edges.spill import EdgeSpill
from partitioning.entities.entity_map import EntityMap
from partitioning.entities.id_files import write_names
from partitioning.events.relations import NamedRelation
from partitioning.ledger.continuation import Reading, next_ledger, plan_reading
from partitioning.ledger.held_out import hold_events, replay_events
from partitioning.ledger.ledger import ledger_path, save_ledger
from partitioning.plan import plan_graph
from partitioning.report import GraphReport
from partitioning.scan import Read, read_events
from partitioning.sources.engine import Engine, translated
from partitioning.sources.files import source_files
from partitioning.sources.frames import source_frames
from partitioning.sources.unchanged import unchanged
from partitioning.thinning.thin import thin

Progress = Callable[[str, float], None]


def build_graph(
    config: GraphConfig,
    root: Path,
    destination: Path,
    progress: Progress,
    known: Path | None,
    sources: Mapping[str, Frame],
    files: dict[str, list[Path]] | None,
) -> GraphReport:
    """See `partitioning.build_graph`."""
    config = config.with_inverses()
    frames = source_frames(config, sources)
    files = source_files(config, root, frames) if files is None else files
    plan_graph(config, files, frames).require(config, destination)
    reading = plan_reading(config, root, files, known, frames)
    if config.append_only:
        ledger_path(destination).mkdir()
    spill = destination / ".spill"
    spill.mkdir()
    try:
        with translated():
            return _build(config, reading, destination, spill, progress)
    finally:
        shutil.rmtree(spill)


def _build(config: GraphConfig, reading: Reading, destination: Path, spill: Path, progress: Progress) -> GraphReport:
    threads = config.threads or cpu_count()
    # Of a night, the edges of its new files.
    expected = max(plan_graph(reading.config, reading.files, reading.frames).edges, 1)
    engine = Engine(spill / "duckdb", config.memory_bytes, threads)
    try:
        with unchanged(path for paths in reading.files.values() for path in paths):
            read = read_events(engine, config, reading, destination, spill, threads, expected, progress)
    finally:
        engine.close()
    relations, edges = read.relations, read.edges
    summed = np.array([relation.config.weight is not None for relation in relations])
    entities = thin(config, relations, read.entities, edges, read.hashes, summed, destination)
    if config.write_names:
        write_names(destination, entities.values(), threads)
    ledger = None
    if config.append_only:
        ledger = ledger_path(destination)
        replay_events(edges, config)
        hold_events(edges, ledger, threads)
        save_ledger(destination, next_ledger(config, reading, read.types, relations, read.without_consent))
    counts = Counts(edges, relations, entities)
    write_buckets(
        edges, destination, config.seed, threads, summed, counts, ledger, lambda done: progress("buckets", done)
    )
    counts.close(ledger, threads)
    _check_empty(config, relations, edges, counts)
    statistics = graph_statistics(counts, relations, entities, read.without_consent, edges.left_out)
    describe(config, destination, relations, entities, edges, counts, statistics)
    return _report(reading, read, entities, counts, statistics)


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


def _report(
    reading: Reading, read: Read, entities: dict[str, EntityMap], counts: Counts, statistics: dict[str, Any]
) -> GraphReport:
    by_split = np.sum(counts.edges, axis=0).tolist()
    by_type = {name: sum(map.counts) for name, map in entities.items()}
    return GraphReport(
        edges=sum(by_split),
        entities=sum(by_type.values()),
        relations=len(read.relations),
        edges_by_split=dict(zip(SPLITS, by_split, strict=True)),
        entities_by_type=by_type,
        rows_read=read.rows,
        files_settled=reading.files_settled,
        recounted=reading.recounted,
        without_consent=statistics["without_consent"],
        edges_left_out=dict(read.edges.left_out),
        known={name: sum(map.known) for name, map in entities.items()},
        cold={name: statistics["entities"][name]["cold"] for name in entities},
        unbalanced=[name for name, map in entities.items() if not balanced(map.counts)],
    )
