"""`transra clean`: what a workspace holds beside what is published, kept or in use: how large and old, and what goes.

What a command would resume, or a finished training that nobody has exported, is removed only where it is named.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from artifacts.errors import ConfigError
from pipeline.running.publication import beyond_keep, is_read
from pipeline.running.purge import PURGED, remove
from pipeline.stages import RESUMABLE
from pipeline.workspace.context import SCRATCH, STORED, Context
from pipeline.workspace.leftovers import interrupted, leftovers
from pipeline.workspace.workspace import Run, Workspace

WHY = {
    "leftover": "a command that was killed left it behind",
    "rejected": "more rejected runs than keep.rejected",
    "abandoned": "older than the published run, and was never exported",
    "interrupted": "the same command resumes it",
    "trained": "a finished training that was never exported",
}
NAMED = ("interrupted", "trained")  # hours of work: goes only by its name


@dataclass(frozen=True)
class Found:
    """What can go, by its `name` below the workspace.

    `bytes` are what its removal frees: what hard links of other runs keep is not among them. `age` is in seconds since
    it was last written. `read`: somebody has its vectors open, and it stays.
    """

    name: str
    path: Path
    kind: str
    bytes: int
    age: float
    read: bool

    def goes(self, named: Sequence[str]) -> bool:
        return not self.read and (self.kind not in NAMED or self.name in named)


def clean(context: Context, named: Sequence[str], removes: bool) -> dict[str, Any]:
    """Lists what can go and, if it `removes`, removes it; where something is `named`, only that.

    The caller holds the workspace. Raises ConfigError for a name of nothing that is listed.
    """
    found = list(_found(context))
    asked = [Path(name).as_posix() for name in named]
    if unknown := [name for name in asked if name not in {one.name for one in found}]:
        known = ", ".join(one.name for one in found) or "nothing"
        raise ConfigError(
            *(f"clean --only {name}: not among what can go, expected one of: {known}" for name in unknown)
        )
    found = [one for one in found if not asked or one.name in asked]
    going = [one for one in found if one.goes(asked)]
    for one in found:
        context.console.say(f"clean: {_told(one, one in going)}")
    for one in going if removes else ():
        remove(context.workspace.path, one.path)
    did = "removed" if removes else "to remove; --yes removes them" if going else "to remove"
    context.console.say(f"clean: {len(going)}, {_size(sum(one.bytes for one in going))}, {did}")
    listed = [
        {"path": one.name, "kind": one.kind, "bytes": one.bytes, "age_seconds": round(one.age), "goes": one in going}
        for one in found
    ]
    return {"found": listed, "removed": [one.name for one in going] if removes else []}


def _found(context: Context) -> Iterator[Found]:
    workspace = context.workspace
    left = (path for pattern in (f"{PURGED}*", STORED, SCRATCH) for path in workspace.path.glob(pattern))
    for path in sorted([*left, *leftovers(workspace, RESUMABLE)]):
        yield _one(workspace, path, "leftover")
    for run in beyond_keep(context):
        if run.rejection():
            yield _one(workspace, run.path, "rejected", is_read(run))
    for run in workspace.runs():
        begun = interrupted(run, RESUMABLE)
        for path in begun:
            yield _one(workspace, path, "interrupted")
        if not begun and _is_past(workspace, run):
            yield _one(workspace, run.path, "abandoned" if run.record("train") is None else "trained")


def _is_past(workspace: Workspace, run: Run) -> bool:
    """Whether it was given up: newer ones than the published run are what the next command goes on with."""
    latest = workspace.latest
    return latest is not None and run.id < latest.id and run.record("export") is None


def _one(workspace: Workspace, path: Path, kind: str, read: bool = False) -> Found:
    files = [one.lstat() for one in (path, *path.rglob("*"))] if path.is_dir() else [path.lstat()]
    links = Counter(stat.st_ino for stat in files)
    gone = {stat.st_ino: stat.st_blocks * 512 for stat in files if stat.st_nlink == links[stat.st_ino]}
    age = max(0.0, time.time() - max(stat.st_mtime for stat in files))
    return Found(path.relative_to(workspace.path).as_posix(), path, kind, sum(gone.values()), age, read)


def _told(one: Found, goes: bool) -> str:
    stays = "" if goes else "; stays, somebody reads its vectors" if one.read else "; goes with --only alone"
    return f"{_size(one.bytes)}, {_age(one.age)} old, {one.kind} {one.name} ({WHY[one.kind]}{stays})"


def _size(count: int) -> str:
    return f"{count / (1 << 20):,.1f} MiB"


def _age(seconds: float) -> str:
    """Days, or hours and minutes."""
    whole = timedelta(seconds=round(seconds))
    return f"{whole.days} d" if whole.days else f"{whole}"
