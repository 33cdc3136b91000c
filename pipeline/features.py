"""`transra features`: what the published vectors say of every impression, as plain columns of a Parquet file."""

import time
from pathlib import Path
from typing import Any

from artifacts.errors import ConfigError
from artifacts.printable import one_line
from partitioning import forgotten_ids, id_key
from pipeline.stages.earlier.compared_runs import compared_runs, expecting, require_exports_intact
from pipeline.workspace.context import Context
from pipeline.workspace.lock import locked
from pipeline.workspace.owner import require_own
from ranker import RankerConfig, check_columns, check_where, export_of, impression_files, require_free, write_features


def features(context: Context, out: Path, only_plan: bool) -> dict[str, Any]:
    """Writes `out`, with the first of `ranker.vectors` or else the published run. Raises as the stage `rank`."""
    config = _section(context)
    require_own(context)
    if config.where is not None:
        check_where(config, context.root, pseudonyms=context.config.graph.ids is not None)
    check_columns(config, context.root)
    name, run, config = _vectors(context, config)
    if only_plan:
        require_free(out, config, context.root, impression_files(config, context.root, context.stores))
        context.console.say(f"features: would read the vectors of {run} and write {out}")
        return {"run": name, "out": str(out)}
    context.workspace.create()
    with locked(context.workspace.path), context.stores:
        files = impression_files(config, context.root, context.stores)
        require_free(out, config, context.root, files)
        require_exports_intact({name: run}, edges=bool(config.derived_slots))
        context.stores.fetch(files)
        graph = context.config.graph
        context.fetch([graph.forget.source] if graph.forget else [])
        forgotten, began = forgotten_ids(graph, context.source_files), time.perf_counter()
        with context.console.steps("features") as progress:
            made = write_features(
                config, context.root, {name: export_of(run)}, out, progress, forgotten, id_key(graph), files
            )
    for what, count in made["mended"].items():
        context.console.say(f"features: {count:,} {one_line(what)}")
    told = f"features: {made['rows']:,} rows of {len(made['columns'])} columns"
    context.console.say(f"{told} in {time.perf_counter() - began:.1f} s -> {out}")
    return {"run": name, **made}


def _section(context: Context) -> RankerConfig:
    if context.config.ranker is None:
        raise ConfigError(f"{context.config_path}: ranker: missing, expected the section that `features` needs")
    return context.config.ranker


def _vectors(context: Context, config: RankerConfig) -> tuple[str, Path, RankerConfig]:
    """The run whose export is read, by name and path, and the section with what its export is expected to be."""
    for name, path in compared_runs(context, config).items():
        return name, path, config
    latest = context.workspace.latest
    if latest is None:
        raise ConfigError(f"{context.workspace.path}: nothing is published yet; run `{context.command('run')}`")
    return latest.id, latest.path, expecting(context, config, latest)
