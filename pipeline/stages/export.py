"""The vectors are written out, and the run is published."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from artifacts.errors import DataError
from artifacts.formats.run import EMBEDDINGS, EXPORT
from artifacts.section import Section
from pipeline.stages.earlier.compared_runs import require_exports_intact
from pipeline.stages.stage import Stage
from pipeline.workspace.context import Context
from pipeline.workspace.workspace import Run


class Export(Stage):
    name, version, upstream = "export", 5, "train"
    reads: ClassVar = {"partition": ("graph.json", "edges/train/", "entities/", "labels/"), "train": ("",)}

    def applies(self, context: Context) -> bool:
        return context.config.model is not None

    def section(self, context: Context) -> Section:
        return context.config.export

    def state(self, context: Context, upstream: str | None) -> dict[str, Any]:
        # Only who asks for Parquet has an export to make anew since its files tell the time.
        return {"parquet": 2} if "parquet" in context.config.export.formats else {}

    def check(self, context: Context) -> list[str]:
        if "faiss" in context.config.export.formats:
            from artifacts.embeddings.index import require_faiss

            require_faiss("export.formats")
        return []

    def plan(self, context: Context, run: Run | None) -> dict[str, int]:
        from artifacts.machine.resources import require_disk, require_memory
        from pbg_transra import export_bytes, export_memory

        if run is None:
            return {}
        asked = run.directory("partition"), context.config.trained, context.config.export
        disk, memory = export_bytes(*asked), export_memory(*asked)
        require_disk(context.workspace.path, disk, "the export")
        if not memory:
            return {"disk_bytes": disk}
        require_memory(memory, "an index of FAISS", "leave 'faiss' out of export.formats")
        return {"disk_bytes": disk, "memory_bytes": memory}

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
        return {**asdict(report), "stability": stability(context, run, partial)}

    def rows(self, metrics: dict[str, Any]) -> int | None:
        return int(metrics["entities"])

    def summary(self, metrics: dict[str, Any]) -> str:
        untrained = metrics["untrained"]
        without = f", {untrained:,} entities without a training edge have none" if untrained else ""
        vectors = f"{metrics['entities'] - untrained:,} vectors{without}"
        return f"{vectors}, {metrics['bytes'] / 1e6:.1f} MB{kept(metrics['stability'])}"


def stability(context: Context, run: Run, partial: Path) -> dict[str, Any] | None:
    """How much the vectors in `partial` differ from the published ones, which they are about to replace; None where
    there are none. Published vectors that cannot be read hold nobody up: that is said."""
    from pbg_transra import compare_exports

    latest = context.workspace.latest
    if latest is None or latest == run or latest.record("export") is None:
        return None
    try:
        require_exports_intact({latest.id: latest.path})
        return {"previous": latest.id, **compare_exports(partial / EMBEDDINGS, latest.path / EXPORT / EMBEDDINGS)}
    except DataError as error:
        context.console.warn(f"export: not compared with the published vectors: {error}")
        return {"previous": latest.id, "not_compared": str(error), "types": {}}


def kept(stability: dict[str, Any] | None) -> str:
    """What of the neighbours stays the same, in words."""
    parts = [
        f"{name} {found['overlap']:.0%}"
        for name, found in (stability or {"types": {}})["types"].items()
        if found["overlap"] is not None
    ]
    return f"; of the nearest neighbours in the run before: {', '.join(parts)}" if parts else ""
