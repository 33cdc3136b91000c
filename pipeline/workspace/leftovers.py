"""What a killed command has left behind, and the next one removes before it begins: nothing of it can be resumed."""

import fcntl
import os
import shutil
from collections.abc import Collection
from pathlib import Path

from artifacts.publish import REPLACED, restore
from pipeline.workspace.workspace import BEGUN, DIRECTORIES, IDENTITY, Run, Workspace

ASIDE = ".*.partial"  # files, links and copies of directories that were to replace another
CALIBRATION = ".calibration-*"


def remove_leftovers(workspace: Workspace, resumable: Collection[str]) -> None:
    """Puts a workspace that the caller holds in order. Interrupted work of `resumable` stages stays."""
    for path in (*workspace.path.glob(ASIDE), *workspace.path.glob(CALIBRATION)):
        if not _in_use(path):
            _remove(path)
    for run in workspace.runs():
        _put_in_order(run, resumable)


def _put_in_order(run: Run, resumable: Collection[str]) -> None:
    for path in run.path.glob(ASIDE):
        _remove(path)
    for path in run.path.glob(f".*{REPLACED}"):
        restore(path)
    for stage in DIRECTORIES:
        if stage not in resumable or not (run.partial(stage) / IDENTITY).exists():
            _remove(run.partial(stage))
        if run.record(stage) is not None:
            for name in BEGUN:
                (run.directory(stage) / name).unlink(missing_ok=True)


def _in_use(path: Path) -> bool:
    """Whether a command that needs no hold on the workspace works there: it has locked the directory itself."""
    if not path.is_dir() or path.is_symlink():
        return False
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
