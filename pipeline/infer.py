"""`transra infer`: vectors for entities that came after the published training, from a file of their events."""

import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.errors import ConfigError, DataError, ResourceError
from artifacts.files.intact import require_intact
from artifacts.files.publish import require_replaceable
from artifacts.formats.run import EMBEDDINGS
from artifacts.printable import one_line
from artifacts.sources.source_files import find_files
from partitioning import build_graph, events_config, source_of
from pbg_transra import ModelConfig, PublishedModel, infer_entities
from pipeline.stages.earlier.compared_runs import require_exports_intact
from pipeline.workspace.context import Context
from pipeline.workspace.workspace import Run


def infer(context: Context, events: Path, out: Path, asked: str | None) -> dict[str, Any]:
    """Writes `out`. Raises ConfigError where nothing is published, DataError for events that are not as the config says
    and for a published run that is not what its records say."""
    began, published, run = time.perf_counter(), *_published(context)
    files = find_files(Path(), [str(events)], (".parquet", ".pq")).files
    if not files:
        raise DataError(f"{events}: no Parquet files")
    if any(out.resolve() == path.resolve() for path in files):
        raise ConfigError(f"{out}: is also read; expected another file for the vectors")
    if not out.parent.is_dir():
        raise ResourceError(f"{out}: its directory is not there")
    require_replaceable(out)
    schema, rows = _described(files)
    source = source_of(context.config.graph, schema, asked, str(events))
    config = events_config(context.config.graph, source, events.absolute(), rows)
    scratch = out.with_name(f".{out.name}.graph.partial")
    shutil.rmtree(scratch, ignore_errors=True)  # of one that was killed
    try:
        scratch.mkdir()
        with context.console.steps("infer") as progress:
            build_graph(config, context.root, scratch, progress)
            found = infer_entities(published, run.directory("export") / EMBEDDINGS, scratch, out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    seconds = time.perf_counter() - began
    context.console.say(f"infer: {one_line(found.told())}; by run {run.id} in {seconds:.1f} s -> {out}")
    return {"run": run.id, "source": source, "out": str(out), "seconds": seconds, **asdict(found)}


def _published(context: Context) -> tuple[PublishedModel, Run]:
    """The published run and its model, whose files are what its records say."""
    run, again = context.workspace.latest, f"run `{context.command('run')}`"
    record = run.record("train") if run else None
    if run is None or record is None:
        raise ConfigError(f"{context.workspace.path}: no run with a model is published yet; {again}")
    require_exports_intact({run.id: run.path})
    way_out = f"remove {run.directory('train')} and {again}"
    require_intact(run.directory("train"), record["outputs"], ("model.", "checkpoint_version"), way_out)
    model = ModelConfig.model_validate(record["parts"]["config"])
    return PublishedModel(run.id, run.directory("partition"), run.directory("train"), model), run


def _described(files: Any) -> tuple[list[str], int]:
    """The columns of the first file, with those that directories name, and the rows of all."""
    columns: dict[str, None] = {}
    rows = 0
    for path, keys in files.items():
        try:
            with pq.ParquetFile(path) as file:
                columns = columns or dict.fromkeys([*file.schema_arrow.names, *keys])
                rows += file.metadata.num_rows
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"{path}: expected a Parquet file ({' '.join(str(error).split())})") from error
    return list(columns), rows
