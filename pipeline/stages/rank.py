"""The ranker's arms are trained and compared."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from artifacts.errors import ConfigError, DataError
from artifacts.formats.run import EMBEDDINGS, EXPORT
from artifacts.sources.source_files import Files
from pipeline.stages.earlier.compared_runs import (
    compared_runs,
    earlier_trainings,
    expecting,
    keep_trainings,
    require_exports_intact,
)
from pipeline.stages.told.odd_numbers import odd_ranking
from pipeline.stages.told.rank_events import told_by
from pipeline.workspace.context import Context
from pipeline.workspace.workspace import PREPARED, Run

if TYPE_CHECKING:
    from ranker import RankerConfig
from pipeline.stages.stage import Stage


class Rank(Stage):
    name, version, upstream, resumable, adds_to_published = "rank", 15, "export", True, True
    knows_its_work = True
    reads: ClassVar = {"partition": ("graph.json",), "export": (EMBEDDINGS,)}

    def applies(self, context: Context) -> bool:
        return context.config.ranker is not None

    def section(self, context: Context) -> "RankerConfig":
        if context.config.ranker is None:
            raise ConfigError(f"{context.config_path}: ranker: missing, expected the section that `rank` needs")
        return context.config.ranker.of_compared()

    def inputs(self, context: Context) -> tuple[list[Path], dict[str, dict[str, Any]]]:
        runs = compared_runs(context, self.section(context))
        paths = [*self._files(context), *(path / EXPORT / EMBEDDINGS for path in runs.values())]
        return paths, context.inputs.states(paths)

    def _files(self, context: Context) -> Files:
        from ranker import impression_files

        return impression_files(self.section(context), context.root, context.stores)

    def check(self, context: Context) -> list[str]:
        config = context.config.ranker
        if config is None:
            return []
        from ranker import check_columns, check_where, require_device

        require_device(config)
        if self.applies(context) and (lines := self.section(context).unjudged()):  # before a graph is trained for it
            raise DataError(*lines)
        pseudonyms = context.config.graph.ids is not None
        notes = [] if config.where is None else check_where(config, context.root, pseudonyms)
        return [*notes, *check_columns(config, context.root)]

    def foreseen(self, context: Context, run: Run) -> list[str]:
        """That the graph has seen the labels, or that the log cannot be read."""
        from partitioning import forgotten_ids, id_key
        from ranker import check_unseen

        config, graph = self.section(context), context.config.graph
        if config.vectors:  # of graphs that are there already
            return []
        try:
            files = self._files(context)
            listed = context.source_files[graph.forget.source] if graph.forget else ()
            if context.stores.unfetched([*files, *listed]) is not None:
                return []
            forgotten, graphs = forgotten_ids(graph, context.source_files), {run.id: run.directory("partition")}
            check_unseen(config, context.root, graphs, forgotten, id_key(graph), files)
        except (ConfigError, DataError) as error:
            return list(error.lines)
        return []

    def plan(self, context: Context, run: Run | None) -> dict[str, int]:
        if self.section(context).tensorboard:
            from artifacts.scalars import require_tensorboard

            require_tensorboard("ranker.tensorboard")
        if run is None:
            return {}
        from ranker import export_of, plan_ranking

        runs = compared_runs(context, config := self.section(context)) or {run.id: run.path}
        files = self._files(context)
        if not context.stores.may_fetch and (fetched := context.stores.unfetched(files)) is not None:
            return {"disk_bytes": fetched}  # no more is known before they are there
        context.stores.fetch(files)
        plan = plan_ranking(config, context.root, map(export_of, runs.values()), files)
        plan.require(context.workspace.path)
        return {"disk_bytes": plan.disk, "memory_bytes": plan.memory}

    def make(self, context: Context, run: Run, partial: Path) -> dict[str, Any]:
        from partitioning import forgotten_ids, id_key
        from ranker import export_of, rank

        keep_trainings(run, partial, self.version)
        config, graph = self.section(context), context.config.graph
        runs = compared_runs(context, config)
        if not runs:
            runs, config = {run.id: run.path}, expecting(context, config, run)
        require_exports_intact(runs, edges=bool(config.derived_slots))
        exports = {name: export_of(path) for name, path in runs.items()}
        tell = told_by(context.console)
        with context.console.steps(self.name) as progress:
            key, files = id_key(graph), self._files(context)
            context.stores.fetch(files)
            context.fetch([graph.forget.source] if graph.forget else [])
            curves, forgotten = run.path / "tensorboard" / self.name, forgotten_ids(graph, context.source_files)
            return rank(
                config,
                context.root,
                exports,
                partial,
                progress,
                curves,
                forgotten=forgotten,
                id_key=key,
                files=files,
                prepared=run.path / PREPARED,
                tell=tell,
                earlier=earlier_trainings(context, run, self.version),
            )

    def summary(self, metrics: dict[str, Any]) -> str:
        from ranker import metrics_table

        return "\n" + metrics_table(metrics) + "\nrank:"

    def odd(self, context: Context, metrics: dict[str, Any]) -> list[str]:
        return list(odd_ranking(metrics))
