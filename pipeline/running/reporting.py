"""Tells what a command came to, once it holds nothing any more: Prometheus' file, then the config's own command.

The workspace is free by then: a hook that hangs holds nobody up, and it may itself run `transra status` or `rollback`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from artifacts.errors import TransraError
from artifacts.files.publish import write_text
from artifacts.machine.interrupts import finish
from pipeline.output.exit_codes import INTERRUPTED, Failure, failure_of
from pipeline.output.log import log_event, logged
from pipeline.output.prometheus import Sample, exposition, samples_of
from pipeline.running.hooks import run_hook
from pipeline.workspace.context import Context
from pipeline.workspace.workspace import Run


@contextmanager
def reported(context: Context, command: str) -> Iterator[None]:
    """Reports how the block ended; what it raises goes on."""
    began, failure = time.time(), Failure(0, ())
    try:
        yield
    except BaseException as error:
        failure = failure_of(error)
        raise
    finally:
        try:
            _report(context, command, failure, began)
        except (KeyboardInterrupt, Exception) as error:  # what is told changes nothing of what it tells of
            if isinstance(error, KeyboardInterrupt):
                finish()
            context.console.warn(f"not told: {type(error).__name__}: {error}; the exit code stays {failure.exit_code}")


def _report(context: Context, command: str, failure: Failure, began: float) -> None:
    ended = time.time()
    if context.config.prometheus is not None:
        _write_metrics(context, context.root / context.config.prometheus, failure, began, ended)
    name = "on_failure" if failure.exit_code else "on_success"
    hook = getattr(context.config, name)
    if hook is None or failure.exit_code == INTERRUPTED:  # who interrupts knows, and waits for the end
        return
    told = run_hook(name, hook, _facts(context, command, failure, ended - began), context.root, context.console)
    if run := context.workspace.find(context.progress.run):
        with logged(run.path / "log.jsonl", run=run.id, stage=context.progress.stage):
            log_event("hook ended", **told)


def _write_metrics(context: Context, path: Path, failure: Failure, began: float, ended: float) -> None:
    try:
        # node_exporter runs as another user.
        write_text(path, _exposition(context, failure, began, ended), mode=0o644)
    except (OSError, TransraError) as error:
        context.console.warn(f"prometheus: {path}: cannot be written ({error})")


def _facts(context: Context, command: str, failure: Failure, seconds: float) -> dict[str, str]:
    """What a hook is told; what there is none of is empty."""
    latest = context.workspace.latest
    return {
        "TRANSRA_COMMAND": command,
        "TRANSRA_CONFIG": str(context.config_path.resolve()),
        "TRANSRA_WORKSPACE": str(context.workspace.path),
        "TRANSRA_RUN": context.progress.run or "",
        "TRANSRA_LATEST": latest.id if latest else "",
        "TRANSRA_STAGE": context.progress.stage or "",
        "TRANSRA_EXIT_CODE": str(failure.exit_code),
        "TRANSRA_REASON": failure.lines[0] if failure.lines else "",
        "TRANSRA_SECONDS": f"{seconds:.1f}",
    }


def _exposition(context: Context, failure: Failure, began: float, ended: float) -> str:
    latest = context.workspace.latest
    samples = [
        Sample("transra_exit_code", {}, failure.exit_code),
        Sample("transra_end_timestamp_seconds", {}, ended),
        Sample("transra_seconds", {}, ended - began),
    ]
    if latest is not None:
        if (published := _published_at(context, latest)) is not None:
            samples.append(Sample("transra_published_timestamp_seconds", {}, published))
        samples += samples_of(latest.metrics())
    return exposition(context.workspace.path.name, samples)


def _published_at(context: Context, run: Run) -> float | None:
    """When the run became the published one, in epoch seconds; None where the workspace does not say."""
    moves: list[dict[str, Any]] = [
        line
        for line in context.workspace.publications()
        if line.get("run") == run.id and line.get("action") in ("publish", "promote", "rollback")
    ]
    return datetime.fromisoformat(moves[-1]["time"]).timestamp() if moves else None
