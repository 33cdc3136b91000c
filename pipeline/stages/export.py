"""The vectors are written out, and the run is published."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from artifacts.section import Section
from pipeline.workspace.context import Context
from pipeline.workspace.workspace import Run

if TYPE_CHECKING:
    pass
from pipeline.stages.stage import Stage


class Export(Stage):
    name, version, upstream = "export", 2, "train"
    reads: ClassVar = {"partition": ("graph.json", "edges/train/", "entities/"), "train": ("",)}

    def applies(self, context: Context) -> bool:
        return context.config.model is not None

    def section(self, context: Context) -> Section:
        return context.config.export

    def plan(self, context: Context, run: Run | None) -> dict[str, int]:
        from artifacts.resources import require_disk
        from pbg_transra import export_bytes

        if run is None:
            return {}
        disk = export_bytes(run.directory("partition"), context.config.trained, context.config.export)
        require_disk(context.workspace.path, disk, "the export")
        return {"disk_bytes": disk}

    def make(self, context: Context, run: Run, partial: Path) -> dict[str, Any]:
        from pbg_transra import export_embeddings

        attributes = {"config_hash": context.config_hash, "run_id": run.id, "metrics": run.metrics()}
        with context.console.steps(self.name) as progress:
            report = export_embeddings(
                run.directory("partition"),
                run.directory("train"),
                partial,
                context.config.trained,
                context.config.export,
                attributes,
                progress,
            )
        return asdict(report)

    def summary(self, metrics: dict[str, Any]) -> str:
        return f"{metrics['entities']:,} vectors, {metrics['bytes'] / 1e6:.1f} MB"
