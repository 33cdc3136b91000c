"""The stages: what each is made from, what it takes, and how it is made. Heavy imports wait until one really runs."""

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from artifacts.errors import ConfigError
from artifacts.graph import load_graph
from artifacts.run import EMBEDDINGS, EXPORT
from artifacts.section import Section
from partitioning import CheckConfig
from pipeline.context import Context
from pipeline.data_checks import as_metrics, lines_of, require_checks, table, verdicts
from pipeline.fingerprint import input_state
from pipeline.log import log_event
from pipeline.people import forgotten_line, lists_digest, runs_with_other_lists
from pipeline.ranking import compared_runs, expecting, keep_trainings, require_exports_intact
from pipeline.split_notes import split_notes
from pipeline.workspace import Run

if TYPE_CHECKING:
    from ranker import RankerConfig


class Stage(ABC):
    """A stage's `version` is raised when the same config and input would give another output."""

    name: ClassVar[str]
    version: ClassVar[int]
    upstream: ClassVar[str | None] = None
    resumable: ClassVar[bool] = False
    knows_its_work: ClassVar[bool] = False  # resumes after any change: what was made from something else it makes anew
    adds_to_published: ClassVar[bool] = False
    # Which files of the stages above it reads, by how their paths begin: they are compared with their records first.
    reads: ClassVar[dict[str, tuple[str, ...]]] = {}

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
        """Expected bytes, by resource, and seconds. Raises ResourceError when they cannot be had. `run` holds the
        upstream."""

    @abstractmethod
    def make(self, context: Context, run: Run, partial: Path) -> dict[str, Any]:
        """Makes the output in `partial` and returns the stage's metrics."""

    @abstractmethod
    def summary(self, metrics: dict[str, Any]) -> str:
        """One line for a person."""


class Partition(Stage):
    name, version = "partition", 4

    def section(self, context: Context) -> Section:
        return context.config.graph

    def inputs(self, context: Context) -> dict[str, dict[str, Any]]:
        return context.source_states

    def state(self, context: Context) -> dict[str, Any]:
        from pipeline.entity_map import key_of_ids, map_since

        state = {
            "map": map_since(context),
            "ids": key_of_ids(context.config.graph),
            "lists": lists_digest(context),
            "measured": list(dict.fromkeys(check.label for check in context.config.checks)),
        }
        return {name: value for name, value in state.items() if value}

    def plan(self, context: Context, run: Run | None) -> dict[str, int]:
        from partitioning import plan_graph

        plan = plan_graph(context.config.graph, context.root, context.source_files)
        plan.require(context.config.graph, context.workspace.path)
        return {"disk_bytes": plan.disk_bytes, "memory_bytes": plan.memory_bytes}

    def make(self, context: Context, run: Run, partial: Path) -> dict[str, Any]:
        from partitioning import build_graph
        from pipeline.entity_map import previous_graph

        previous = previous_graph(context)
        with context.console.steps(self.name) as progress:
            files = context.source_files
            graph, checks = context.config.graph, context.config.checks
            report = build_graph(graph, context.root, partial, progress, previous, None, files, checks)
        if report.forgotten:
            context.console.say(f"{self.name}: {forgotten_line(report.forgotten)}")
        if report.recounted:
            context.console.say(f"{self.name}: counted all files again, since {'; '.join(report.recounted[:3])}")
        for line in split_notes(graph, report):
            context.console.say(f"{self.name}: {line}")
        if left := runs_with_other_lists(context, run, self.version) if self.state(context).get("lists") else []:
            context.console.say(
                f"{self.name}: earlier runs with other lists of consent or of ids to forget: {len(left)}; "
                f"once this one is published, `{context.command('purge')}` removes them"
            )
        if previous and report.unbalanced:
            types = ", ".join(report.unbalanced)
            context.console.say(
                f"{self.name}: the partitions of {types} are uneven; it is time for "
                f"`{context.command(self.name, '--rebuild')}`"
            )
        return asdict(report)

    def summary(self, metrics: dict[str, Any]) -> str:
        settled = f" ({metrics['files_settled']} files were counted before)" if metrics["files_settled"] else ""
        by_split = ", ".join(f"{split} {count:,}" for split, count in metrics["edges_by_split"].items())
        reasons = {**metrics["edges_left_out"], "without consent": sum(metrics["without_consent"].values())}
        left_out = ", ".join(f"{count:,} {why.replace('_', ' ')}" for why, count in reasons.items() if count)
        why = f"; left out: {left_out}" if left_out else ""
        return f"{metrics['edges']:,} edges ({by_split}{why}), {metrics['entities']:,} entities{settled}"


class ChecksSection(Section):
    """The checks of a config, as a section."""

    checks: tuple[CheckConfig, ...]


class Checks(Stage):
    name, version, upstream, adds_to_published = "checks", 1, "partition", True

    def applies(self, context: Context) -> bool:
        return bool(context.config.checks)

    def section(self, context: Context) -> Section:
        return ChecksSection(checks=context.config.checks)

    def plan(self, context: Context, run: Run | None) -> dict[str, int]:
        return {}

    def make(self, context: Context, run: Run, partial: Path) -> dict[str, Any]:
        found = verdicts(context, run)
        context.console.say(table(found))
        log_event("checks", **as_metrics(found))
        for line in lines_of(found, "warn"):
            context.console.warn(line)
        require_checks(context, run)
        return as_metrics(found)

    def summary(self, metrics: dict[str, Any]) -> str:
        outcomes = Counter(one["outcome"] for one in metrics["checks"])
        return ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())


class Train(Stage):
    name, version, upstream, resumable = "train", 1, "partition", True
    reads: ClassVar = {"partition": ("graph.json", "edges/", "entities/")}

    def section(self, context: Context) -> Section:
        return context.config.model

    def inputs(self, context: Context) -> dict[str, dict[str, Any]]:
        from pbg_transra import committed_files

        start = context.config.model.start_from
        return {str(path): input_state(path) for path in committed_files(context.root / start)} if start else {}

    def plan(self, context: Context, run: Run | None) -> dict[str, int]:
        if run is None:
            return {}
        from pbg_transra import plan_training

        require_checks(context, run)

        model = context.config.model
        if model.tensorboard:
            from artifacts.scalars import require_tensorboard

            require_tensorboard("model.tensorboard")
        start = context.root / model.start_from if model.start_from else None
        interrupted = None if context.restart else run.partial(self.name)
        plan = plan_training(run.directory("partition"), model, start, interrupted, context.workspace.path)
        return {
            "disk_bytes": plan.disk,
            "memory_bytes": plan.memory,
            "shared_memory_bytes": plan.shared_memory,
            "seconds": plan.seconds,
        }

    def make(self, context: Context, run: Run, partial: Path) -> dict[str, Any]:
        from pbg_transra import train
        from pipeline.train_events import train_events

        self._start(context, run, partial)
        graph_dir, model = run.directory("partition"), context.config.model
        if model.validate_every and not load_graph(graph_dir).edges("valid"):
            context.console.say(
                f"{self.name}: nothing to validate: the valid split has no edges; the last epoch is the model"
            )
        scalars = run.path / "tensorboard" if model.tensorboard else None
        with context.console.bar(self.name, " edges") as bar, train_events(bar, scalars) as to:
            return asdict(train(graph_dir, partial, model, to.progress, to.bucket, to.validation))

    def _start(self, context: Context, run: Run, partial: Path) -> None:
        """Puts the checkpoint of `model.start_from` where training looks for first values; not after a first epoch."""
        from pbg_transra import adopt_checkpoint, has_checkpoint

        model = context.config.model
        if model.start_from is None or has_checkpoint(partial):
            return

        directory = context.root / model.start_from
        adoption = adopt_checkpoint(directory, run.directory("partition"), model, partial)
        log_event("started from a checkpoint", directory=str(directory), **asdict(adoption))
        context.console.say(f"{self.name}: starts from {directory}: {adoption.told()}")

    def summary(self, metrics: dict[str, Any]) -> str:
        rate, resumed = f"{metrics['edges_per_second']:,.0f} edges/s", metrics["resumed_epochs"]
        went_on = f" (went on after {resumed})" if resumed else ""
        early = ", stopped early" if metrics["stopped_early"] else ""
        best, mrr = metrics["best_epoch"], dict(metrics["validation_mrr"])
        validated = f", validation MRR {mrr[best]:.4f} (epoch {best} is the model)" if best else ""
        return f"{metrics['epochs']} epochs{went_on}{early}, loss {metrics['loss']:.4f}{validated}, {rate}"


class Export(Stage):
    name, version, upstream = "export", 2, "train"
    reads: ClassVar = {"partition": ("graph.json", "edges/train/", "entities/"), "train": ("",)}

    def section(self, context: Context) -> Section:
        return context.config.export

    def plan(self, context: Context, run: Run | None) -> dict[str, int]:
        from artifacts.resources import require_disk
        from pbg_transra import export_bytes

        if run is None:
            return {}
        disk = export_bytes(run.directory("partition"), context.config.model, context.config.export)
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
                context.config.model,
                context.config.export,
                attributes,
                progress,
            )
        return asdict(report)

    def summary(self, metrics: dict[str, Any]) -> str:
        return f"{metrics['entities']:,} vectors, {metrics['bytes'] / 1e6:.1f} MB"


class Evaluate(Stage):
    name, version, upstream, adds_to_published = "evaluate", 2, "train", True
    reads: ClassVar = {"partition": ("graph.json", "edges/"), "train": ("",)}

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
        from pbg_transra import evaluate

        config = context.config
        with context.console.steps(self.name) as progress:
            graph_dir, model_dir = run.directory("partition"), run.directory("train")
            return evaluate(graph_dir, model_dir, config.model, config.evaluate, progress)

    def summary(self, metrics: dict[str, Any]) -> str:
        left_out = "".join(
            f"; {count:,} {metrics['split']} edges of '{name}' left out, which has no training edges"
            for name, count in metrics["untrained_relations"].items()
        )
        if not metrics["triples"]:
            return metrics["protocol"] + left_out
        numbers = ", ".join(f"{key} {metrics[key]:.4f}" for key in metrics if key == "mrr" or key.startswith("hits@"))
        auc = "n/a" if metrics["auc"] is None else f"{metrics['auc']:.4f}"
        return f"{numbers}, AUC {auc} ({metrics['protocol']}{left_out})"


class Rank(Stage):
    name, version, upstream, resumable, adds_to_published = "rank", 7, "export", True, True
    knows_its_work = True
    reads: ClassVar = {"partition": ("graph.json",), "export": (EMBEDDINGS,)}

    def applies(self, context: Context) -> bool:
        return context.config.ranker is not None

    def section(self, context: Context) -> "RankerConfig":
        if context.config.ranker is None:
            raise ConfigError(f"{context.config_path}: ranker: missing, expected the section that `rank` needs")
        return context.config.ranker

    def inputs(self, context: Context) -> dict[str, dict[str, Any]]:
        from ranker import impression_files

        runs = compared_runs(context, config := self.section(context))
        vectors = (path / EXPORT / EMBEDDINGS for path in runs.values())
        return {str(path): input_state(path) for path in (*impression_files(config, context.root), *vectors)}

    def plan(self, context: Context, run: Run | None) -> dict[str, int]:
        if self.section(context).tensorboard:
            from artifacts.scalars import require_tensorboard

            require_tensorboard("ranker.tensorboard")
        if run is None:
            return {}
        from ranker import export_of, plan_ranking

        runs = compared_runs(context, config := self.section(context)) or {run.id: run.path}
        plan = plan_ranking(config, context.root, map(export_of, runs.values()))
        plan.require(context.workspace.path)
        return {"disk_bytes": plan.disk, "memory_bytes": plan.memory}

    def make(self, context: Context, run: Run, partial: Path) -> dict[str, Any]:
        from partitioning import forgotten_ids, id_key
        from ranker import export_of, rank

        keep_trainings(run, partial, self.version)
        config, graph = self.section(context), context.config.graph
        runs = compared_runs(context, config)
        require_exports_intact(runs)
        if not runs:
            runs, config = {run.id: run.path}, expecting(context, config, run)
        exports = {name: export_of(path) for name, path in runs.items()}
        with context.console.steps(self.name) as progress:
            key = id_key(graph)
            curves, forgotten = run.path / "tensorboard" / self.name, forgotten_ids(graph, context.source_files)
            return rank(config, context.root, exports, partial, progress, curves, forgotten=forgotten, id_key=key)

    def summary(self, metrics: dict[str, Any]) -> str:
        from ranker import metrics_table

        return "\n" + metrics_table(metrics) + "\nrank:"


STAGES: dict[str, Stage] = {s.name: s for s in (Partition(), Checks(), Train(), Evaluate(), Export(), Rank())}


def chain(stage: Stage) -> list[Stage]:
    """The stage and what it is made from, first things first."""
    return [*chain(STAGES[stage.upstream]), stage] if stage.upstream else [stage]
