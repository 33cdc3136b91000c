"""Is the graph what the config expects of its data?"""

from collections import Counter
from pathlib import Path
from typing import Any

from artifacts.section import Section
from partitioning import CheckConfig
from pipeline.output.log import log_event
from pipeline.stages.data_checks import as_metrics, lines_of, require_checks, table, verdicts
from pipeline.stages.stage import Stage
from pipeline.workspace.context import Context
from pipeline.workspace.workspace import Run


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
