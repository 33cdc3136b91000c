"""Events on disk become a partitioned graph."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from artifacts.formats.graph import load_graph
from artifacts.section import Section
from pipeline.stages.earlier.people import forgotten_line, lists_digest, runs_with_other_lists
from pipeline.stages.stage import Stage
from pipeline.stages.told.split_notes import require_trained, split_notes
from pipeline.workspace.context import Context
from pipeline.workspace.workspace import Run


class Partition(Stage):
    name, version = "partition", 5
    plans_bounds = True

    def section(self, context: Context) -> Section:
        return context.config.graph

    def inputs(self, context: Context) -> tuple[list[Path], dict[str, dict[str, Any]]]:
        return [path for files in context.source_files.values() for path in files], context.source_states

    def state(self, context: Context, upstream: str | None = None) -> dict[str, Any]:
        from pipeline.stages.earlier.entity_map import key_of_ids, map_since

        state = {
            "map": map_since(context),
            "ids": key_of_ids(context.config.graph),
            "tables": context.table_states,
            "lists": lists_digest(context),
            "measured": list(dict.fromkeys(check.label for check in context.config.checks)),
        }
        return {name: value for name, value in state.items() if value}

    def plan(self, context: Context, run: Run | None) -> dict[str, int]:
        from partitioning import plan_graph

        paths = [path for files in context.source_files.values() for path in files]
        if not context.stores.may_fetch and (fetched := context.stores.unfetched(paths)) is not None:
            return {"disk_bytes": fetched}  # no more is known before they are there
        context.stores.fetch(paths)
        plan = plan_graph(context.config.graph, context.root, context.source_files)
        plan.require(context.config.graph, context.workspace.path)
        return {"disk_bytes": plan.disk_bytes, "memory_bytes": plan.memory_bytes}

    def expect(self, context: Context, run: Run | None) -> dict[str, int]:
        """Of a full build: what a ledger saves is not known before it is read. Raises what its schemas say of the
        config."""
        from partitioning import check_schemas, expect_build, plan_graph

        if "memory_bytes" not in (bounds := self.plan(context, run)):
            return bounds
        check_schemas(context.config.graph, context.source_files, context.config.checks)
        plan = plan_graph(context.config.graph, context.root, context.source_files)
        expected = expect_build(context.config.graph, context.source_files, plan)
        return {
            "disk_bytes": expected.disk_bytes,
            "memory_bytes": expected.memory_bytes,
            "seconds": round(expected.seconds),
        }

    def make(self, context: Context, run: Run, partial: Path) -> dict[str, Any]:
        from partitioning import build_graph
        from pipeline.stages.earlier.entity_map import previous_graph

        previous = previous_graph(context)
        with context.console.steps(self.name) as progress:
            files = context.source_files
            graph, checks = context.config.graph, context.config.checks
            states = local_states(context)
            report = build_graph(graph, context.root, partial, progress, previous, None, files, checks, states)
        if context.config.model:
            require_trained(graph, load_graph(partial), context.config.model.anchors)
        if report.forgotten:
            context.console.say(f"{self.name}: {forgotten_line(report.forgotten, report.files_settled)}")
        if report.recounted:
            context.console.say(f"{self.name}: counted all files again, since {'; '.join(report.recounted[:3])}")
        for type, found in report.labelled.items():
            several = f"; {found['several']:,} had several, the first of which counts" if found["several"] else ""
            of_all = f"{found['found']:,} of {report.entities_by_type[type]:,} {type}"
            context.console.say(f"{self.name}: labels of {of_all}{several}")
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

    def rows(self, metrics: dict[str, Any]) -> int | None:
        return sum(metrics["rows_read"].values())

    def summary(self, metrics: dict[str, Any]) -> str:
        settled = f" ({metrics['files_settled']} files were counted before)" if metrics["files_settled"] else ""
        by_split = ", ".join(f"{split} {count:,}" for split, count in metrics["edges_by_split"].items())
        listed = sum(rows for by_source in metrics["removed"].values() for rows in by_source.values())
        without = sum(metrics["without_consent"].values())
        reasons = {**metrics["edges_left_out"], "without consent": without, "listed in another source": listed}
        left_out = ", ".join(f"{count:,} {why.replace('_', ' ')}" for why, count in reasons.items() if count)
        why = f"; left out: {left_out}" if left_out else ""
        return f"{metrics['edges']:,} edges ({by_split}{why}), {metrics['entities']:,} entities{settled}"


def local_states(context: Context) -> dict[Path, dict[str, Any]]:
    """The states that stand for the contents of the sources' files, without those of stores."""
    paths = (path for files in context.source_files.values() for path in files)
    return {
        path: context.source_states[context.inputs.name(path)] for path in paths if context.stores.state(path) is None
    }
