"""The chosen arm is trained on all days, and published beside the vectors that it reads."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifacts.errors import ConfigError
from pipeline.stages.earlier.compared_runs import compared_runs, expecting, require_exports_intact
from pipeline.stages.rank import Rank
from pipeline.workspace.context import Context
from pipeline.workspace.workspace import Run

if TYPE_CHECKING:
    from ranker import RankerConfig


class Fit(Rank):
    """Reads what `rank` reads, and nothing that `rank` has made."""

    name, version = "fit", 7

    def applies(self, context: Context) -> bool:
        return context.config.ranker is not None and context.config.ranker.fit is not None

    def section(self, context: Context) -> "RankerConfig":
        """What one training follows from: the chosen arm, on the first of the exports."""
        config = super().section(context)  # of the arms that are compared alone
        assert context.config.ranker is not None
        if config.fit is None:
            raise ConfigError(
                f'{context.config_path}: ranker.fit: missing, expected for example {{ arm: "attention" }}'
            )
        arm, training, arms = config.fit.arm, config.training, context.config.ranker.arms
        chosen = {
            "arms": {arm: arms[arm]},
            "vectors": config.vectors[:1],
            "training": training.model_copy(update={"seeds": training.seeds[:1]}),
        }
        judging = ("segments", "bootstrap", "split")  # of which it knows nothing
        defaults = {name: type(config).model_fields[name].default for name in judging}
        return config.model_copy(update={**chosen, **defaults})

    def foreseen(self, context: Context, run: Run) -> list[str]:
        return []  # `rank` says it

    def make(self, context: Context, run: Run, partial: Path) -> dict[str, Any]:
        from partitioning import forgotten_ids, id_key
        from ranker import export_of, fit

        config, graph = self.section(context), context.config.graph
        runs = compared_runs(context, config)
        require_exports_intact(runs)
        if not runs:
            runs, config = {run.id: run.path}, expecting(context, config, run)
        (export,) = map(export_of, runs.values())
        with context.console.steps(self.name) as progress:
            key, files = id_key(graph), self._files(context)
            context.stores.fetch(files)
            context.fetch([graph.forget.source] if graph.forget else [])
            forgotten = forgotten_ids(graph, context.source_files)
            return fit(config, context.root, export, partial, progress, forgotten=forgotten, id_key=key, files=files)

    def summary(self, metrics: dict[str, Any]) -> str:
        calibration = ", ".join(f"{task} {value:.3f}" for task, value in metrics["calibration"].items() if value)
        return f"{metrics['arm']} on {metrics['rows']['rows']:,} impressions, calibration {calibration}"

    def odd(self, context: Context, metrics: dict[str, Any]) -> list[str]:
        return []
