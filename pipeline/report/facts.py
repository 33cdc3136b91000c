"""What a page is made from: a run's records, the log of the run that trained it, and what became of the runs before."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from artifacts.embeddings import Embeddings
from artifacts.files.json_file import read_json
from artifacts.formats.graph import Graph, load_graph
from artifacts.formats.run import EMBEDDINGS
from pipeline.workspace.workspace import DIRECTORIES, Run, Workspace

MOST_NIGHTS = 60  # earlier runs that are looked at


@dataclass(frozen=True)
class Facts:
    """A run as its records tell of it."""

    workspace: Workspace
    run: Run

    @cached_property
    def records(self) -> dict[str, dict[str, Any]]:
        return {stage: record for stage in DIRECTORIES if (record := self.run.record(stage))}

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config of the command that made the run's latest stage."""
        return dict(self.manifest["config"])

    @cached_property
    def manifest(self) -> dict[str, Any]:
        return read_json(self.run.path / "manifest.json", dict[str, Any], "a run's manifest")

    def metrics(self, stage: str) -> dict[str, Any] | None:
        return self.records[stage]["metrics"] if stage in self.records else None

    def directory(self, stage: str) -> Path:
        return self.run.directory(stage)

    @cached_property
    def graph(self) -> Graph:
        return load_graph(self.directory("partition"))

    @cached_property
    def statistics(self) -> dict[str, Any]:
        return read_json(self.directory("partition") / "statistics.json", dict[str, Any], "a graph's statistics")

    @cached_property
    def embeddings(self) -> Embeddings | None:
        """The exported vectors; None where the run has none yet."""
        return Embeddings(self.directory("export") / EMBEDDINGS) if "export" in self.records else None

    @cached_property
    def publications(self) -> list[dict[str, Any]]:
        """What was published and rejected in the workspace, oldest first."""
        return [line for line in self.workspace.publications() if {"time", "action", "run"} <= line.keys()]

    @cached_property
    def nights(self) -> list[Run]:
        """Kept runs with an export up to this one, oldest first."""
        found = [run for run in self.workspace.runs() if run.id <= self.run.id and run.record("export")]
        return found[:MOST_NIGHTS][::-1]

    def log(self, stage: str) -> list[dict[str, Any]]:
        """Lines of the log of the run that made a stage, which may be an earlier one; none where that is gone."""
        record = self.records.get(stage)
        maker = self.workspace.find(record["run"]) if record else None
        return list(_lines(maker.path / "log.jsonl")) if maker else []


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """A log's lines; one that a kill or a full disk has cut is left out."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict) and "message" in found:
                yield found
