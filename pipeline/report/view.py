"""The page as a view of a run's records, like manifest.json and metrics.json: made anew where they have changed."""

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from artifacts.errors import ConfigError
from artifacts.files.publish import write_text
from artifacts.machine.interrupts import asked
from pipeline.output.exit_codes import failure_of
from pipeline.output.log import logged, logger
from pipeline.workspace.context import Context
from pipeline.workspace.fingerprint import digest_of
from pipeline.workspace.workspace import DIRECTORIES, Run, Workspace

REPORT = "report.html"  # in a run, beside its stages
VERSION = 3  # raised when the same records would give another page
LIBRARY = "bokeh"
HEAD = 4096  # characters in which the digest stands


def refresh_report(context: Context, run: Run) -> Path | None:
    """Writes the page of a run unless it is there, and says where; says so where the plotting library is missing.

    Raises DataError for a record or an export that is broken, ResourceError where the page cannot be written.
    """
    if find_spec(LIBRARY) is None:
        context.console.say(f"report: left out, since {LIBRARY} is not installed (pip install 'transra[report]')")
        return None
    path, digest = run.path / REPORT, digest_of(_made_from(context.workspace, run))
    if _digest(path) == digest:
        context.console.say(f"report: up to date ({path})")
        return path
    from pipeline.report.facts import Facts
    from pipeline.report.page import page

    with context.console.steps("report") as progress:
        write_text(path, page(Facts(context.workspace, run), digest, progress))
    context.console.say(f"report: {path}")
    return path


def follow(context: Context, run: Run) -> Path | None:
    """`refresh_report` once the command has done its work: a page that cannot be made is a warning, and no exit code.

    What is published is published, and whoever waits for it must not be told otherwise.
    """
    try:
        return refresh_report(context, run)
    except Exception as error:  # whatever a page met, the command has done its work
        if asked():
            raise
        with logged(run.path / "log.jsonl", run=run.id, stage="report"):
            logger.error("report failed: %s", error, exc_info=True)
        latest, again = context.workspace.latest, context.command("report", "--run", run.id)
        context.console.warn(
            f"report: not made ({failure_of(error).lines[0]}); all else is done, latest is "
            f"{latest.id if latest else 'none'}; `{again}` makes it"
        )
        return None


def follow_all(context: Context, runs: Iterable[Run | None]) -> None:
    """`follow`, of those of the runs that are there and have a page: where `latest` was moved, theirs say so."""
    for run in runs:
        if run is not None and (run.path / REPORT).is_file():
            follow(context, run)


def require_library() -> None:
    """Raises ConfigError where the plotting library is missing."""
    if find_spec(LIBRARY) is None:
        raise ConfigError(f"report: {LIBRARY} is not installed; pip install 'transra[report]'")


def reported_run(workspace: Workspace, id: str | None) -> Run | None:
    """The run of that id; without one the published run, or else the newest that holds something."""
    if id is not None:
        return workspace.find(id)
    return workspace.latest or next((run for run in workspace.runs() if run.metrics()), None)


def _made_from(workspace: Workspace, run: Run) -> dict[str, Any]:
    """What the page shows, so that it is made anew where that has changed."""
    latest = workspace.latest
    return {
        "version": VERSION,
        "stages": {stage: record["fingerprint"] for stage in DIRECTORIES if (record := run.record(stage))},
        "metrics": run.metrics(),
        "rejection": run.rejection(),
        "latest": latest.id if latest else None,
        "publications": workspace.publications(),
        "runs": [one.id for one in workspace.runs()],
    }


def _digest(path: Path) -> str | None:
    """The digest of what a page was made from; None where there is no whole page."""
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", errors="replace") as file:
        _, found, rest = file.read(HEAD).partition('name="transra-report" content="')
    return rest.partition('"')[0] if found else None
