"""The workspace of a config, its runs, and the stages that they hold.

    runs/<config name>/
      <utc>-<hash8>/       one run: graph/ model/ export/ evaluate/ manifest.json metrics.json log.jsonl
      latest -> <utc>-<hash8>

Each stage directory carries its own record (`stage.json`), written before the directory is renamed into place: a stage
is there whole or not at all. manifest.json and metrics.json are views of the records, made anew after each command.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from artifacts.errors import DataError, ResourceError
from artifacts.files.json_file import read_json
from artifacts.files.publish import link_tree, point, write_json
from artifacts.formats.reader_schema import SCHEMA_VERSION
from artifacts.formats.run import EXPORT, GRAPH, MANIFEST

STAMP = "%Y%m%dT%H%M%S.%f"  # of milliseconds, three digits fewer
RECORD = "stage.json"
IDENTITY = "identity.json"  # in a partial stage: what it was begun with, so that it can be resumed
MADE = "made.json"  # in one that only has to be recorded: its metrics
BEGUN = (IDENTITY, MADE)
METRICS = "metrics.json"
REJECTED = "rejected.json"  # in a run that must not be published: by whom, and why
PUBLICATIONS = "publications.jsonl"  # in a workspace: a line each time that a run is published or rejected
PREPARED = "prepared"  # in a run, beside its stages: impressions as the ranker encoded them, for its next call
MEETING = ".ranks.json"  # in a workspace, while several machines train: where they find rank 0
INPUTS = ".inputs.json"  # in a workspace: what inputs held, by name
OWN_FILES = (
    *("latest", ".latest.partial", ".lock", ".holder.json", "..holder.json.partial"),
    *(INPUTS, f".{INPUTS}.partial", MEETING, f".{MEETING}.partial"),
)
DIRECTORIES = {
    "partition": GRAPH,
    "checks": "checks",
    "train": "model",
    "export": EXPORT,
    "evaluate": "evaluate",
    "rank": "ranker",
    "fit": "scorer",
}


class Parts(BaseModel, extra="allow"):
    """What a stage was made from: see `pipeline.running.runner.targets`."""

    version: int
    config: dict[str, Any]
    inputs: dict[str, dict[str, Any]]
    upstream: str | None


class Rejection(BaseModel):
    """What rejected.json says."""

    by: Literal["gate", "rollback"]
    reason: str


class StageRecord(BaseModel, extra="allow"):
    """What stage.json must hold to be used."""

    stage: str
    run: str
    parent: str | None
    fingerprint: str
    parts: Parts
    input_digests: dict[str, str]
    outputs: dict[str, str]
    metrics: dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One run directory."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    def directory(self, stage: str) -> Path:
        return self.path / DIRECTORIES[stage]

    def partial(self, stage: str) -> Path:
        """Where a stage is being made; an interrupted training leaves its checkpoint there."""
        return self.path / f"{DIRECTORIES[stage]}.partial"

    def record(self, stage: str) -> dict[str, Any] | None:
        """What a finished stage says of itself; None when the run does not hold it."""
        path = self.directory(stage) / RECORD
        return read_json(path, StageRecord, "a stage's record").model_dump() if path.exists() else None

    def holds(self, stage: str, fingerprint: str) -> bool:
        record = self.record(stage)
        return record is not None and record["fingerprint"] == fingerprint

    def rejection(self) -> dict[str, Any] | None:
        """By whom the run was rejected, and why; None where it was not."""
        path = self.path / REJECTED
        return read_json(path, Rejection, "why a run was rejected").model_dump() if path.exists() else None

    def metrics(self) -> dict[str, Any]:
        """The metrics of the stages that the run holds, by stage."""
        return {stage: record["metrics"] for stage in DIRECTORIES if (record := self.record(stage))}

    def refresh(self, config: dict[str, Any]) -> None:
        """Rewrites manifest.json and metrics.json from the records of the stages."""
        records = {stage: record for stage in DIRECTORIES if (record := self.record(stage))}
        parent = next((record["parent"] for record in records.values() if record["run"] == self.id), None)
        stages = {stage: {k: v for k, v in record.items() if k != "metrics"} for stage, record in records.items()}
        of = {"schema_version": SCHEMA_VERSION, "run": self.id, "parent": parent}
        write_json(self.path / MANIFEST, {**of, "config": config, "stages": stages})
        write_json(self.path / METRICS, {"run": self.id, **self.metrics()})

    def views_are_current(self) -> bool:
        """Whether metrics.json, which is written last, says what the records say: a kill may have come before it."""
        try:
            found = read_json(self.path / METRICS, dict[str, Any], "metrics")
        except DataError:
            return False
        return bool(found == {"run": self.id, **self.metrics()})


@dataclass(frozen=True)
class Workspace:
    """All runs of one config."""

    path: Path

    def create(self) -> None:
        """Raises ResourceError where it cannot be written."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResourceError(f"{self.path}: {error.strerror}; choose another --workspace") from error
        if not os.access(self.path, os.W_OK):
            raise ResourceError(f"{self.path}: cannot be written; choose another --workspace")
        for name in OWN_FILES:
            if (path := self.path / name).is_dir() and not path.is_symlink():
                raise ResourceError(f"{path}: found a directory where a file or link of ours belongs; move it away")

    def runs(self) -> list[Run]:
        """Newest first."""
        if not self.path.is_dir():
            return []
        found = (p for p in self.path.iterdir() if p.is_dir() and not p.is_symlink() and not p.name.startswith("."))
        return [Run(p) for p in sorted(found, key=lambda p: p.name, reverse=True) if p.name[:8].isdigit()]

    @property
    def latest(self) -> Run | None:
        """The published run, the one that readers should use."""
        link = self.path / "latest"
        return Run(self.path / os.readlink(link)) if link.is_symlink() and link.exists() else None

    def find(self, id: str | None) -> Run | None:
        """The run of that id, if it is still there."""
        return next((run for run in self.runs() if run.id == id), None)

    def publish(self, run: Run) -> None:
        point(self.path / "latest", run.id)

    def publications(self) -> list[dict[str, Any]]:
        """The lines of publications.jsonl, oldest first; one that a kill or a full disk has cut is left out."""
        path = self.path / PUBLICATIONS
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [found for line in lines if (found := _object(line))]

    def unpublished(self) -> Iterator[Run]:
        """Runs that never got as far as their export, newest first."""
        return (run for run in self.runs() if run.record("export") is None)

    def open_run(self, config_hash: str) -> Run:
        """A new run, named after the time, or after the newest run where the clock has jumped back: names are order."""
        newest = [_later(run.id) for run in self.runs()[:1]]
        now = max([datetime.now(timezone.utc).strftime(STAMP)[:-3], *newest])
        run = Run(self.path / f"{now}Z-{config_hash[:8]}")
        run.path.mkdir()
        return run


def adopt(run: Run, stage: str, parent: Run) -> None:
    """Takes a stage over from another run: hard links, no copy."""
    link_tree(parent.directory(stage), run.directory(stage))


def _later(id: str) -> str:
    """A millisecond after the time that a run is named after; nothing where it is not."""
    try:
        return (datetime.strptime(id.partition("Z")[0], STAMP) + timedelta(milliseconds=1)).strftime(STAMP)[:-3]
    except ValueError:
        return ""


def _object(line: str) -> dict[str, Any]:
    """A line's object; an empty one where it is none."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
