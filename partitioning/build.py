"""The build, one step after the other: scan events, thin, keep what continues, write buckets, describe the graph."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from artifacts.expressions.engine import translated
from artifacts.machine.resources import cpu_count
from artifacts.sources.frame import Frame
from artifacts.sources.source_files import Files
from artifacts.sources.unchanged import unchanged
from partitioning.buckets.bucket_edges import WrongWeight
from partitioning.buckets.graph_files import write_graph_files
from partitioning.buckets.statistics import graph_statistics
from partitioning.config.sections import GraphConfig
from partitioning.engines.backend import Backend, OpenBackend
from partitioning.engines.local_backend import open_local
from partitioning.engines.scan import Progress, Scan
from partitioning.entities.entity_map import EntityMap
from partitioning.entities.id_files import write_names
from partitioning.events.relations import summed
from partitioning.inspection.plan import Plan, plan_graph
from partitioning.labels import LabelReader
from partitioning.ledger.arrays import KeepsArrays, LedgerArrays, NoArrays
from partitioning.ledger.continuation import Continuation, continue_from, next_ledger
from partitioning.ledger.held_out import keep_held_out, replay_held_out
from partitioning.ledger.ledger import ledger_path, save_ledger
from partitioning.ledger.previous_graph import history_of
from partitioning.outcome import check_empty, check_weights, graph_report, too_heavy
from partitioning.report import GraphReport
from partitioning.sources.files import source_files
from partitioning.sources.formats.frames import source_frames
from partitioning.thinning.thin import thin


def build_graph(
    config: GraphConfig,
    root: Path,
    destination: Path,
    progress: Progress,
    previous: Path | None,
    sources: Mapping[str, Frame],
    files: dict[str, Files] | None,
    open_backend: OpenBackend = open_local,
    states: Mapping[Path, dict[str, Any]] = MappingProxyType({}),
) -> GraphReport:
    """See `partitioning.build_graph`. `open_backend` opens what does the heavy work."""
    config = config.with_inverses()
    frames = source_frames(config, sources)
    files = source_files(config, root, frames) if files is None else files
    plan = plan_graph(config, files, frames)
    plan.require(config, destination)
    continuation = continue_from(config, root, files, previous, frames, states)
    spill = destination / ".spill"
    spill.mkdir()
    labels = LabelReader(config, files, frames, spill)
    try:
        with translated(), unchanged([path for label in config.labels.values() for path in files[label.source]]):
            labels.check()
            with open_backend(config, spill) as backend:
                scan = _scan(backend, continuation, destination, spill, plan, progress)
                report, entities = _finish(backend, config, continuation, scan, destination, progress)
            labelled = {type: found._asdict() for type, found in labels.write(destination, entities).items()}
            return replace(report, labelled=labelled)
    finally:
        shutil.rmtree(spill)


def _scan(
    backend: Backend,
    continuation: Continuation,
    destination: Path,
    spill: Path,
    plan: Plan,
    progress: Progress,
) -> Scan:
    if continuation.counted_graph:  # the edges of its new files
        plan = plan_graph(continuation.config, continuation.files, continuation.frames)
    expected = max(plan.edges, 1)
    progress("open sources", 0.0)
    files = [path for paths in continuation.files.values() for path in paths]
    with unchanged(files):
        return backend.scan(continuation, destination, spill, expected, progress)


def _finish(
    backend: Backend,
    config: GraphConfig,
    continuation: Continuation,
    scan: Scan,
    destination: Path,
    progress: Progress,
) -> tuple[GraphReport, dict[str, EntityMap]]:
    """What follows the scan; also the entities that are left."""
    threads, relations, spill = config.threads or cpu_count(), scan.relations, scan.spill
    if not continuation.counted_graph:  # of which more was seen
        check_weights(config, relations, scan.spilled)
    thinned = thin(config, relations, scan.entities, spill, scan.hashes, summed(relations), destination)
    entities = thinned.entities
    if config.write_names:
        write_names(destination, entities.values(), threads)
    history = history_of(continuation, relations)
    window = scan.spilled.window.including(replay_held_out(spill, history, config))
    arrays = _keep_ledger(config, continuation, scan, destination, threads)
    try:
        counts, seen = backend.write_buckets(
            scan, entities, history, destination, arrays, lambda done: progress("buckets", done)
        )
    except WrongWeight as error:
        raise too_heavy(relations[error.relation]) from error
    check_empty(config, relations, scan, counts)
    left_out = {"seen_before": thinned.seen + seen, **thinned.left_out}
    statistics = graph_statistics(counts, relations, entities, scan.totals.without_consent, left_out)
    write_graph_files(config, destination, relations, entities, window, counts, statistics)
    return graph_report(continuation, scan, thinned, counts, statistics), entities


def _keep_ledger(
    config: GraphConfig, continuation: Continuation, scan: Scan, destination: Path, threads: int
) -> KeepsArrays:
    """Begins the ledger of a graph with append-only sources; returns where its arrays go."""
    if not config.append_only:
        return NoArrays()
    ledger_path(destination).mkdir()
    arrays, totals = LedgerArrays(ledger_path(destination)), scan.totals
    keep_held_out(scan.spill, arrays, threads)
    ledger = next_ledger(config, continuation, totals.types, scan.relations, totals.without_consent)
    save_ledger(destination, ledger)
    return arrays
