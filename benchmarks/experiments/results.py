"""Finished cells as files, one each, and the tables made of them."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from artifacts.files.publish import write_json

DONE, OVER_BUDGET, DIVERGED = "done", "over budget", "diverged"


@dataclass(frozen=True)
class Cell:
    """What came of one training; a trial's `score` is its best on valid, a measured cell's `measures` are of test.

    `minutes`: its budget. `seconds`: of the training.
    """

    fingerprint: str
    outcome: str
    minutes: float
    setting: int
    score: float | None = None
    measures: dict[str, float | None] = field(default_factory=dict)
    seconds: float | None = None
    said: str = ""

    def settles(self, fingerprint: str, minutes: float) -> bool:
        """Whether nothing is left to do for a cell made from this, with so many minutes."""
        enough = self.outcome != OVER_BUDGET or minutes <= self.minutes
        return self.fingerprint == fingerprint and enough

    def told(self) -> str:
        """One line, for who waits."""
        numbers = {"valid": self.score, **self.measures}
        words = [f"{name} {value:.4f}" for name, value in numbers.items() if value is not None]
        return f"{self.verdict()} {', '.join(words)}{self.said}".rstrip()

    def verdict(self) -> str:
        return f"{self.outcome} ({self.minutes:g} min)" if self.outcome == OVER_BUDGET else self.outcome


def read_cell(path: Path) -> Cell | None:
    return Cell(**json.loads(path.read_text())) if path.exists() else None


def write_cell(path: Path, cell: Cell) -> None:
    """In one step: a cell is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, asdict(cell))


@dataclass(frozen=True)
class Row:
    """One operator: the setting that was chosen, its score on valid, and its cells: `<seed>`, `<seed>-rank`."""

    operator: str
    setting: dict[str, Any]
    score: float | None
    cells: dict[str, Cell]

    @property
    def done(self) -> list[Cell]:
        return [cell for cell in self.cells.values() if cell.outcome == DONE]

    def told(self, measure: str) -> str:
        """Mean and standard deviation over seeds."""
        found = (cell.measures.get(measure) for cell in self.done)
        values = [value for value in found if value is not None]
        spread = f" ± {stdev(values):.4f}" if len(values) > 1 else ""
        return f"{fmean(values):.4f}{spread}" if values else "-"

    def state(self) -> str:
        """How many seeds are measured, and what came of the other cells."""
        measured = sum(name.isdigit() and cell.outcome == DONE for name, cell in self.cells.items())
        failed = (f"{name} {cell.verdict()}" for name, cell in self.cells.items() if cell.outcome != DONE)
        return ", ".join([f"{measured}", *failed]) if self.cells else "not run"

    def told_setting(self) -> str:
        return " ".join(f"{key}={value}" for key, value in self.setting.items()) or "-"


def table(name: str, rows: list[Row]) -> str:
    """Markdown, a line per operator."""
    measures = list(dict.fromkeys(measure for row in rows for cell in row.done for measure in cell.measures))
    head = [name, "setting", "valid", *measures, "seconds", "seeds"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for row in rows:
        seconds = [cell.seconds for cell in row.done if cell.seconds is not None]
        spent, score = f"{fmean(seconds):.1f}" if seconds else "-", "-" if row.score is None else f"{row.score:.4f}"
        cells = [row.operator, row.told_setting(), score, *map(row.told, measures), spent, row.state()]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def as_json(row: Row) -> dict[str, Any]:
    """A row as experiments.json holds it."""
    return {
        "setting": row.setting,
        "valid": row.score,
        "state": row.state(),
        "cells": {name: asdict(cell) for name, cell in row.cells.items()},
    }
