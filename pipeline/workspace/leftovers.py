"""What a killed command has left behind, and the next one removes before it begins: nothing of it can be resumed."""

import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from artifacts.files.held import is_held
from artifacts.files.publish import REPLACED, restore
from pipeline.workspace.workspace import BEGUN, DIRECTORIES, IDENTITY, Run, Workspace

ASIDE = ".*.partial"  # files, links and copies of directories that were to replace another
CALIBRATION = ".calibration-*"  # of a command that needs no hold on the workspace: it locks the directory itself


def remove_leftovers(workspace: Workspace, resumable: Collection[str]) -> None:
    """Puts a workspace that the caller holds in order. Interrupted work of `resumable` stages stays."""
    for path in list(leftovers(workspace, resumable)):
        _remove(path)
    for run in workspace.runs():
        for path in run.path.glob(f".*{REPLACED}"):
            restore(path)
        for stage in DIRECTORIES:
            if run.record(stage) is not None:
                for name in BEGUN:
                    (run.directory(stage) / name).unlink(missing_ok=True)


def leftovers(workspace: Workspace, resumable: Collection[str]) -> Iterator[Path]:
    """What nobody uses any more."""
    for pattern in (ASIDE, CALIBRATION):
        yield from (path for path in workspace.path.glob(pattern) if path.is_symlink() or not is_held(path))
    for run in workspace.runs():
        yield from run.path.glob(ASIDE)
        for stage in DIRECTORIES:
            if os.path.lexists(run.partial(stage)) and run.partial(stage) not in interrupted(run, resumable):
                yield run.partial(stage)


def interrupted(run: Run, resumable: Collection[str]) -> list[Path]:
    """What `resumable` stages have begun, and go on with when the same command is repeated."""
    return [run.partial(stage) for stage in DIRECTORIES if stage in resumable and _resumes(run.partial(stage))]


def _resumes(partial: Path) -> bool:
    return (partial / IDENTITY).exists()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
