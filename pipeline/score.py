"""`transra score`: predictions of the published model for the rows of Parquet files."""

from pathlib import Path
from typing import Any

from artifacts.errors import ConfigError
from artifacts.files.intact import require_intact
from pipeline.stages.earlier.compared_runs import compared_runs, require_exports_intact
from pipeline.workspace.context import Context


def score(context: Context, source: str, out: Path) -> dict[str, Any]:
    """Writes `out`. Raises ConfigError where no model is published, DataError for one that was made with another
    export than the one beside the config, or whose files are not what was published."""
    from partitioning import id_key
    from ranker import export_of, score_parquet

    latest, again = context.workspace.latest, f"run `{context.command('fit')}`"
    record = latest and latest.record("fit")
    config = context.config.ranker
    if latest is None or not record or config is None:
        raise ConfigError(f"{context.workspace.path}: no scorer is published with the latest vectors; {again}")
    directory = latest.directory("fit")
    require_intact(directory, record["outputs"], ("",), f"remove {directory} and {again}")
    runs = compared_runs(context, config)
    require_exports_intact(runs)
    run = next(iter(runs.values()), latest.path)
    if config.derived_slots:
        require_exports_intact({run.name: run}, edges=True)
    with context.console.steps("score") as progress:

        def watch(done: float) -> None:
            progress(source, done)

        rows = score_parquet(config, directory, source, out, export_of(run), id_key(context.config.graph), watch)
    context.console.say(f"score: {rows:,} rows by {record['metrics']['arm']} of run {latest.id} -> {out}")
    return {"run": latest.id, "arm": record["metrics"]["arm"], "rows": rows, "out": str(out)}
