"""One vector per entity is learned; an interrupted training resumes."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from artifacts.errors import ConfigError
from artifacts.formats.graph import load_graph
from artifacts.section import Section
from pipeline.output.log import log_event
from pipeline.stages.data_checks import require_checks
from pipeline.stages.earlier.warm_start import BEGUN_FROM, begun_from, published_model, require_model_intact
from pipeline.stages.stage import Stage
from pipeline.workspace.context import Context
from pipeline.workspace.fingerprint import digest_of
from pipeline.workspace.workspace import MEETING, Run

if TYPE_CHECKING:
    from pbg_transra import Place, ValidationDone


def place_in(context: Context) -> "Place | None":
    """Which of several machines this one is; None where it trains alone."""
    from pbg_transra import place_of

    machines = context.config.trained.machines
    return place_of(machines, context.rank, os.environ, context.workspace.path / MEETING)


def graph_identity(run: Run) -> dict[str, Any]:
    """What tells the graph of a run from others, by its record."""
    record = run.record("partition") or {}
    return {"fingerprint": record["fingerprint"], "files": digest_of(record["outputs"])}


class Train(Stage):
    name, version, upstream, resumable, takes_long = "train", 2, "partition", True, True
    reads: ClassVar = {"partition": ("graph.json", "edges/", "entities/")}

    def applies(self, context: Context) -> bool:
        return context.config.model is not None

    def section(self, context: Context) -> Section:
        return context.config.trained

    def inputs(self, context: Context) -> tuple[list[Path], dict[str, dict[str, Any]]]:
        from pbg_transra import committed_files

        start = context.config.trained.start_from
        paths = list(committed_files(context.root / start)) if start else []
        return paths, context.inputs.states(paths)

    def check(self, context: Context) -> list[str]:
        from pbg_transra import chosen_level, require_device

        if self.applies(context) and context.config.trained.fused:
            chosen_level()
            require_device(context.config.trained)
        return []

    def state(self, context: Context, upstream: str | None) -> dict[str, Any]:
        model = context.config.trained
        # The number of the way in which it is kept whose vectors were taken over: a model without that is not exported.
        known = {"known": 1} if model.warm_start or model.start_from else {}
        return known | ({BEGUN_FROM: begun_from(context.workspace, upstream)} if model.warm_start else {})

    def plan(self, context: Context, run: Run | None) -> dict[str, int]:
        if run is None:
            return {}
        from pbg_transra import plan_training

        require_checks(context, run)

        model = context.config.trained
        if model.tensorboard:
            from artifacts.scalars import require_tensorboard

            require_tensorboard("model.tensorboard")
        if model.warm_start:
            published_model(context, run)
        start = context.root / model.start_from if model.start_from else None
        graph_dir, interrupted = run.directory("partition"), run.partial(self.name)
        plan = plan_training(graph_dir, model, start, interrupted, context.workspace.path, context.restart)
        return {
            "disk_bytes": plan.disk,
            "memory_bytes": plan.memory,
            "shared_memory_bytes": plan.shared_memory,
            **({"gpu_memory_bytes": plan.device} if plan.device else {}),
            "seconds": plan.seconds,
        }

    def make(
        self,
        context: Context,
        run: Run,
        partial: Path,
        on_validation: Callable[["ValidationDone"], None] = lambda done: None,
        alone: bool = False,
    ) -> dict[str, Any]:
        """As every stage; what `on_validation` raises ends the training. `alone`: on one machine, whatever the config
        says."""
        from pbg_transra import train
        from pipeline.stages.told.train_events import train_events

        graph_dir, model = run.directory("partition"), context.config.trained
        if model.validate_every and not load_graph(graph_dir).edges("valid"):
            context.console.say(
                f"{self.name}: nothing to validate: the valid split has no edges; the last epoch is the model"
            )
        scalars = run.path / "tensorboard" if model.tensorboard else None
        with context.console.lines(self.name) as tell:
            self._start(context, run, partial)
            with context.console.bar(self.name, " edges") as bar, train_events(bar, tell, scalars) as to:

                def validated(done: "ValidationDone") -> None:
                    to.validation(done)
                    on_validation(done)

                with nullcontext() if alone else self._host(context, run) as host:
                    return asdict(train(graph_dir, partial, model, to.progress, to.bucket, validated, host))

    def _host(self, context: Context, run: Run) -> AbstractContextManager[Any]:
        """Where other machines find this one, if several train."""
        from pbg_transra import hosted

        place = place_in(context)
        if place is None:
            return nullcontext()
        if place.rank:
            raise ConfigError(f"rank {place.rank}: expected `{context.command('train', '--rank', str(place.rank))}`")
        context.console.say(f"{self.name}: rank 0 of {place.count} waits on {place.host} for the others")
        return hosted(place, run.id, context.config.trained, graph_identity(run))

    def _start(self, context: Context, run: Run, partial: Path) -> None:
        """Puts the values of `model.warm_start` or `start_from` where training looks for first ones; not after a first
        pass."""
        from pbg_transra import adopt_checkpoint, has_checkpoint

        model = context.config.trained
        if has_checkpoint(partial):
            return
        if model.warm_start:
            self._start_warm(context, run, partial)
        if model.start_from is None:
            return
        directory = context.root / model.start_from
        adoption = adopt_checkpoint(directory, run.directory("partition"), model, partial)
        log_event("started from a checkpoint", directory=str(directory), **asdict(adoption))
        context.console.say(f"{self.name}: starts from {directory}: {adoption.told()}")

    def _start_warm(self, context: Context, run: Run, partial: Path) -> None:
        from pbg_transra import adopt_run

        published = published_model(context, run)
        if published is None:
            why = (
                "the published run of this graph did, too"
                if context.workspace.latest
                else "no run was published before"
            )
            context.console.say(f"{self.name}: begins cold: {why}")
            return
        require_model_intact(context, published)
        found = adopt_run(published, run.directory("partition"), context.config.trained, partial)
        log_event("warm start", **asdict(found))
        context.console.say(f"{self.name}: begins from run {published.run}: {found.told()}")

    def summary(self, metrics: dict[str, Any]) -> str:
        rate, resumed = f"{metrics['edges_per_second']:,.0f} edges/s", metrics["resumed_epochs"]
        went_on = f" (went on after {resumed})" if resumed else ""
        early = ", stopped early" if metrics["stopped_early"] else ""
        by_level = f" ({metrics['level']})" if "level" in metrics else ""  # not in records of earlier versions
        best, by = metrics["best_epoch"], "MRR" if metrics["validation_mrr"] else "recall@20"
        scores = dict(metrics["validation_mrr"] or metrics.get("validation_retrieval", []))
        validated = f", validation {by} {scores[best]:.4f} (epoch {best} is the model)" if best else ""
        return f"{metrics['epochs']} epochs{went_on}{early}, loss {metrics['loss']:.4f}{validated}, {rate}{by_level}"
