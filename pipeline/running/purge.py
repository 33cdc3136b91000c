"""`transra purge`: removes what earlier runs and interrupted attempts still hold, and keeps the published run.

What goes is first renamed to `.purged-*`, which no command takes for a run, so an interrupted one leaves no half run.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from artifacts.errors import ConfigError
from artifacts.files.publish import sync
from pipeline.running.store import leave_latest
from pipeline.stages import STAGES
from pipeline.stages.earlier.people import made_with_present_lists
from pipeline.workspace.context import SCRATCH, STORED, Context
from pipeline.workspace.workspace import Run

PURGED = ".purged-"
# What a killed command leaves behind beside runs: a calibration's vectors, a trial of `tune`, files and links that were
# being replaced.
_LEFT_BEHIND = (f"{PURGED}*", ".calibration-*", ".*.partial", STORED, SCRATCH)


def purge(context: Context, dry_run: bool) -> dict[str, Any]:
    """Lists and, unless it is a dry run, removes everything but the published run, in `publish.url` too.

    Raises ConfigError where nothing is published, or the published run was made with other lists of consent or of ids
    to forget than those of now: it would keep what is to go.
    """
    paths = list(_doomed(context, kept_run(context)))
    for path in paths:
        context.console.say(f"purge: {'would remove' if dry_run else 'removes'} {path}")
    if not dry_run:
        for path in paths:
            remove(context.workspace.path, path)
    elsewhere = leave_latest(context, dry_run)
    for url in elsewhere:
        context.console.say(f"purge: {'would remove' if dry_run else 'removed'} {url}")
    doomed = [*map(str, paths), *elsewhere]
    context.console.say(f"purge: {len(doomed)} {'to remove' if dry_run else 'removed'}")
    return {"removed" if not dry_run else "to_remove": doomed}


def kept_run(context: Context) -> Run:
    """The published run. Raises as `purge`."""
    latest = context.workspace.latest
    again = f"run `{context.command('run')}` first"
    if latest is None:
        raise ConfigError(f"{context.workspace.path}: nothing is published yet; {again}")
    if not made_with_present_lists(context, latest, STAGES["partition"].version):
        raise ConfigError(
            f"{latest.path}: the published run was made with other lists of consent or of ids to forget; {again}"
        )
    for name, stage in STAGES.items():
        record = latest.record(name)
        if record and record["parts"]["version"] != stage.version:
            raise ConfigError(f"{latest.path}: its {name} was made by another version of transra; {again}")
    return latest


def _doomed(context: Context, latest: Run) -> Iterator[Path]:
    for pattern in _LEFT_BEHIND:
        yield from sorted(context.workspace.path.glob(pattern))
    for run in context.workspace.runs():
        if run.id != latest.id:
            yield run.path
    yield from sorted({*latest.path.glob("*.partial"), *latest.path.glob(".*.partial"), *latest.path.glob("prepared")})


def remove_purged(workspace: Path) -> None:
    """Removes what a killed command had begun to remove."""
    for path in workspace.glob(f"{PURGED}*"):
        shutil.rmtree(path)


def remove(workspace: Path, path: Path) -> None:
    """Removes a file, or a directory after it has been renamed. Who has its files open or mapped keeps them."""
    if not path.is_dir() or path.is_symlink():
        path.unlink()
        return
    if not path.name.startswith(PURGED):
        aside = workspace / f"{PURGED}{'-'.join(path.relative_to(workspace).parts)}"
        os.rename(path, aside)
        sync(workspace)
        path = aside
    shutil.rmtree(path)
