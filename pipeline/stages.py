"""The stages: what each is made from, what it takes, and how it is made. Heavy imports wait until one really runs."""

from abc import ABC, abstractmethod
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from artifacts.errors import ConfigError
from artifacts.graph import load_graph
from artifacts.resources import tree_memory
from artifacts.section import Section
from pipeline.context import Context
from pipeline.fingerprint import input_state
from pipeline.log import log_event
from pipeline.workspace import Run

if TYPE_CHECKING:
    from ranker import RankerConfig

EMBEDDINGS = "embeddings.h5"  # in the directory of an export


class Stage(ABC):
    """A stage's `version` is raised when the same config and input would give another output."""

    name: ClassVar[str]
    version: ClassVar[int]
    upstream: ClassVar[str | None] = None
    resumable: ClassVar[bool] = False
    adds_to_published: ClassVar[bool] = False

    def applies(self, context: Context) -> bool:
        """Whether `transra run` should make it for this config."""
        return True

    @abstractmethod
    def section(self, context: Context) -> Section:
        """The slice of the config that the output depends on."""

    def inputs(self, context: Context) -> dict[str, dict[str, Any]]:
        """State of the files outside the workspace that the stage reads, by path."""
        return {}

    def state(self, context: Context) -> dict[str, Any]:
        """What else the output depends on, by name."""
        return {}

    @abstractmethod
    def plan(self, context: Context, run: Run | None) -> dict[str, int]:
        """Expected bytes, by resource. Raises ResourceError when they cannot be had. `run` holds the upstream."""

    @abstractmethod
    def make(self, context: Context, run: Run, partial: Path) -> dict[str, Any]:
        """Makes the output in `partial` and returns the stage's metrics."""

    @abstractmethod
    def summary(self, metrics: dict[str, Any]) -> str:
        """One line for a person."""


class Partition(Stage):
    name, version = "partition", 2

    def section(self, context: Context) -> Section:
        return context.config.graph

    def inputs(self, context: Context) -> dict[str, dict[str, Any]]:
        from partitioning import source_files

        files = source_files(context.config.graph, context.root)
        return {str(path): input_state(path) for paths in files.values() for path in paths}

    def state(self, context: Context) -> dict[str, Any]:
        from pipeline.entity_map import map_since

        since = map_since(context)
        return {"map": since} if since else {}

    def plan(self, context: Context, run: Run | None) -> dict[str, int]:
        from partitioning import plan_graph

        plan = plan_graph(context.config.graph, context.root)
        plan.require(context.config.graph, context.workspace.path)
        return {"disk_bytes": plan.disk_bytes, "memory_bytes": plan.memory_bytes}

    def make(self, context: Context, run: Run, partial: Path) -> dict[str, Any]:
        from partitioning import build_graph
        from pipeline.entity_map import known_graph

        known = known_graph(context)
        with context.console.bar(self.name, "", total=1.0) as bar:

            def progress(step: str, fraction: float) -> None:
                bar.set_postfix_str(step, refresh=False)
                bar.update(fraction - bar.n)

            report = build_graph(context.config.graph, context.root, partial, progress, known)
        if known and report.unbalanced:
            types = ", ".join(report.unbalanced)
            context.console.say(
                f"{self.name}: the partitions of {types} are uneven; it is time for `transra partition "
                f"{context.config_path} --rebuild`"
            )
        return asdict(report)

    def summary(self, metrics: dict[str, Any]) -> str:
        return f"{metrics['edges']:,} edges, {metrics['entities']:,} entities"


class Train(Stage):
    name, version, upstream, resumable = "train", 1, "partition", True

    def section(self, context: Context) -> Section:
        return context.config.model

    def inputs(self, context: Context) -> dict[str, dict[str, Any]]:
        from pbg_transra.committed import committed_files

        start = context.config.model.start_from
        return {str(path): input_state(path) for path in committed_files(context.root / start)} if start else {}

    def plan(self, context: Context, run: Run | None) -> dict[str, int]:
        from artifacts.resources import cpu_count
        from pbg_transra.plan import check_names, plan_training

        if run is None:
            return {}
        graph, model = load_graph(run.directory("partition")), context.config.model
        check_names(graph, model)
        if model.start_from:
            from pbg_transra.adopt import check_start

            check_start(context.root / model.start_from, run.directory("partition"), model)
        plan = plan_training(graph, model, model.workers or cpu_count())
        plan.require(context.workspace.path)
        return {
            "disk_bytes": plan.disk,
            "memory_bytes": plan.memory,
            "shared_memory_bytes": plan.shared_memory,
        }

    def make(self, context: Context, run: Run, partial: Path) -> dict[str, Any]:
        from pbg_transra.swapping.loop import BucketDone
        from pbg_transra.train import train
        from pbg_transra.watch import TrainProgress

        self._start(context, run, partial)
        with context.console.bar(self.name, " edges") as bar:

            def progress(now: TrainProgress) -> None:
                bar.total = now.total_edges
                bar.set_postfix(loss=f"{now.loss:.4f}", refresh=False)
                bar.update(now.edges - bar.n)

            def bucket(done: BucketDone) -> None:
                log_event("bucket", **asdict(done), memory_bytes=tree_memory())

            return asdict(train(run.directory("partition"), partial, context.config.model, progress, bucket))

    def _start(self, context: Context, run: Run, partial: Path) -> None:
        """Puts the checkpoint of `model.start_from` where training looks for first values; not after a first epoch."""
        model = context.config.model
        if model.start_from is None or (partial / "checkpoint_version.txt").exists():
            return
        from pbg_transra.adopt import adopt_checkpoint

        directory = context.root / model.start_from
        adoption = adopt_checkpoint(directory, run.directory("partition"), model, partial)
        log_event("started from a checkpoint", directory=str(directory), **asdict(adoption))
        context.console.say(f"{self.name}: starts from {directory}: {adoption.told()}")

    def summary(self, metrics: dict[str, Any]) -> str:
        rate, resumed = f"{metrics['edges_per_second']:,.0f} edges/s", metrics["resumed_epochs"]
        went_on = f" (went on after {resumed})" if resumed else ""
        return f"{metrics['epochs']} epochs{went_on}, loss {metrics['loss']:.4f}, {rate}"


class Export(Stage):
    name, version, upstream = "export", 1, "train"

    def section(self, context: Context) -> Section:
        return context.config.export

    def plan(self, context: Context, run: Run | None) -> dict[str, int]:
        from artifacts.resources import require_disk

        if run is None:
            return {}
        graph, export = load_graph(run.directory("partition")), context.config.export
        width = {"hdf5": 4, "parquet": 4, "tsv": 12}
        components = graph.entities * context.config.model.dimension
        disk = sum(width[kind] for kind in export.formats) * components + 64 * graph.entities
        require_disk(context.workspace.path, disk, "the export")
        return {"disk_bytes": disk}

    def make(self, context: Context, run: Run, partial: Path) -> dict[str, Any]:
        from pbg_transra.export import export_embeddings

        attributes = {"config_hash": context.config_hash, "run_id": run.id, "metrics": run.metrics()}
        with context.console.bar(self.name, "", total=1.0) as bar:
            report = export_embeddings(
                run.directory("partition"),
                run.directory("train"),
                partial,
                context.config.model,
                context.config.export,
                attributes,
                lambda step, fraction: bar.update(fraction - bar.n) and None,
            )
        return asdict(report)

    def summary(self, metrics: dict[str, Any]) -> str:
        return f"{metrics['entities']:,} vectors, {metrics['bytes'] / 1e6:.1f} MB"


class Evaluate(Stage):
    name, version, upstream, adds_to_published = "evaluate", 1, "train", True

    def applies(self, context: Context) -> bool:
        """Without a split that keeps edges out of training there is nothing to rank."""
        graph = context.config.graph
        by_rule = graph.split.time is not None or graph.split.random is not None
        return by_rule or any(source.split == context.config.evaluate.split for source in graph.sources.values())

    def section(self, context: Context) -> Section:
        return context.config.evaluate

    def plan(self, context: Context, run: Run | None) -> dict[str, int]:
        return {}

    def make(self, context: Context, run: Run, partial: Path) -> dict[str, Any]:
        from pbg_transra.evaluation.report import evaluate

        config = context.config
        with context.console.bar(self.name, "", total=1.0) as bar:

            def progress(step: str, fraction: float) -> None:
                bar.set_postfix_str(step, refresh=False)
                bar.update(fraction - bar.n)

            graph_dir, model_dir = run.directory("partition"), run.directory("train")
            return evaluate(graph_dir, model_dir, config.model, config.evaluate, progress)

    def summary(self, metrics: dict[str, Any]) -> str:
        numbers = ", ".join(f"{key} {metrics[key]:.4f}" for key in metrics if key == "mrr" or key.startswith("hits@"))
        return f"{numbers}, AUC {metrics['auc']:.4f} ({metrics['protocol']})"


class Rank(Stage):
    name, version, upstream, resumable, adds_to_published = "rank", 1, "export", True, True

    def applies(self, context: Context) -> bool:
        return context.config.ranker is not None

    def section(self, context: Context) -> "RankerConfig":
        if context.config.ranker is None:
            raise ConfigError(f"{context.config_path}: ranker: missing, expected the section that `rank` needs")
        return context.config.ranker

    def inputs(self, context: Context) -> dict[str, dict[str, Any]]:
        from ranker import impression_files

        files = [*impression_files(self.section(context), context.root), *self._others(context).values()]
        return {str(path): input_state(path) for path in files}

    def plan(self, context: Context, run: Run | None) -> dict[str, int]:
        return {}

    def make(self, context: Context, run: Run, partial: Path) -> dict[str, Any]:
        from ranker import rank

        others = self._others(context)
        exports = others or {run.id: run.directory("export") / EMBEDDINGS}
        graphs = [path.parents[1] / "graph" for path in exports.values()]
        ends = [end for graph in graphs if (end := load_graph(graph).window[1]) is not None]
        with context.console.bar(self.name, "", total=1.0) as bar:

            def progress(step: str, fraction: float) -> None:
                bar.set_postfix_str(step, refresh=False)
                bar.update(fraction - bar.n)

            end = max(ends, default=None)
            return rank(self.section(context), context.root, exports, end, partial, (), progress)

    def summary(self, metrics: dict[str, Any]) -> str:
        from ranker.report import table

        return "\n" + table(metrics) + "\nrank:"

    def _others(self, context: Context) -> dict[str, Path]:
        """The exports of the runs that `ranker.vectors` names; empty where the run's own is meant."""
        return {name: context.root / name / "export" / EMBEDDINGS for name in self.section(context).vectors}


STAGES: dict[str, Stage] = {s.name: s for s in (Partition(), Train(), Evaluate(), Export(), Rank())}


def chain(stage: Stage) -> list[Stage]:
    """The stage and what it is made from, first things first."""
    return [*chain(STAGES[stage.upstream]), stage] if stage.upstream else [stage]
