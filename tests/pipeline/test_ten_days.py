"""Ten days of one workspace: new users every day, a bad day, a crash, a rollback, a withdrawal and a purge."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from artifacts.embeddings import Embeddings
from tests.worlds.night_world import killed_in_training, latest_of, transra, workspace_of, write_config, write_day

MODEL = {"operator": "transra", "anchors": ["click"], "warm_start": "latest", "max_drift": 0.5, "epochs": 2}
SECTIONS = {"gate": {"edges": 1.5, "mrr": 0.9, "cosine": 0.5, "relations": 1.5}, "keep": {"runs": 3, "rejected": 1}}


class Days:
    """The workspace in `root`, and what was published on it so far."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self._capsys = root, capsys
        write_config(root, MODEL, **SECTIONS)

    def night(self, code: int = 0) -> str:
        """Runs the nightly command; returns what it said."""
        self._capsys.readouterr()
        assert transra(self.root, "run") == code
        return "".join(self._capsys.readouterr())

    def vectors(self) -> dict[str, np.ndarray]:
        found = Embeddings.open(self.root / "runs/c/latest")
        return dict(zip(found.ids("user").to_pylist(), np.array(found.vectors("user")), strict=True))

    def inferred(self, day: int) -> dict[str, np.ndarray]:
        """Vectors for users of a day that no night has seen yet."""
        assert (
            transra(self.root, "infer", str(self.root / f"log/day-{day}.parquet"), str(self.root / "new.parquet")) == 0
        )
        table = pq.read_table(self.root / "new.parquet")
        return dict(zip(table["id"].to_pylist(), np.array(table["vector"].to_pylist()), strict=True))

    def actions(self) -> list[str]:
        return [line["action"] for line in workspace_of(self.root).publications()]

    def changed(self, **graph: Any) -> None:
        config = json.loads((self.root / "c.json").read_text())
        config["graph"] |= graph
        (self.root / "c.json").write_text(json.dumps(config))


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def test_ten_days(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    days = Days(tmp_path, capsys)
    first_night(days)
    for day in (2, 3):
        new_users(days, day)
    a_bad_day(days)
    a_crash(days)
    a_restored_backup(days)
    a_rollback(days)
    old_runs_go(days)
    gone = somebody_leaves(days)
    a_last_night(days, gone)
    assert days.actions() == [
        *["publish"] * 3,
        "reject",
        *["publish"] * 3,
        *["reject", "rollback"],
        *["publish"] * 4,
    ]


def first_night(days: Days) -> None:
    write_day(days.root, 1)
    assert "begins cold" in days.night()


def new_users(days: Days, day: int) -> None:
    """They have a vector before the night, and stay near it."""
    before = days.vectors()
    write_day(days.root, day)
    new = days.inferred(day)
    said, after = days.night(), days.vectors()
    assert "entities known" in said
    assert before.keys() < after.keys() and new.keys() == after.keys() - before.keys()
    drift = [np.linalg.norm(after[id] - v) / np.linalg.norm(v) for id, v in before.items()]
    assert max(drift) <= 0.5001, "known vectors stay within the bound"
    assert np.mean([cosine(after[id], v) for id, v in new.items()]) > 0.5


def a_bad_day(days: Days) -> None:
    """Ten times the clicks are rejected, until the log is mended."""
    third = latest_of(days.root)
    write_day(days.root, 4, clicks=4000)
    assert "expected within 1.5 of them (gate.edges)" in days.night(65)
    assert days.night(65) and latest_of(days.root) == third, "cron repeats it: the same answer, and nothing is trained"
    write_day(days.root, 4)
    assert "begins from run " + third.id in days.night()


def a_crash(days: Days) -> None:
    """The same command resumes what was begun."""
    fourth = latest_of(days.root)
    write_day(days.root, 5)
    assert killed_in_training(days.root, "run") == -signal.SIGKILL
    assert latest_of(days.root) == fourth
    assert "begins from run" not in days.night()
    assert latest_of(days.root) != fourth


def a_restored_backup(days: Days) -> None:
    fifth = latest_of(days.root)
    for path in (days.root / "log").iterdir():
        os.utime(path)
    assert "train: up to date" in days.night() and latest_of(days.root) == fifth


def a_rollback(days: Days) -> None:
    """Cron does not publish again what was rolled back, and the next night does not begin from it."""
    fifth = latest_of(days.root)
    write_day(days.root, 6)
    days.night()
    sixth = latest_of(days.root)
    assert transra(days.root, "rollback") == 0 and latest_of(days.root) == fifth
    assert "rolled back to" in days.night(65) and latest_of(days.root) == fifth
    write_day(days.root, 7)
    assert f"begins from run {fifth.id}" in days.night()
    assert sixth.rejection() is not None


def old_runs_go(days: Days) -> None:
    write_day(days.root, 8)
    days.night()
    assert len(workspace_of(days.root).runs()) <= 4, "three published ones and a rejected one are kept"


def somebody_leaves(days: Days) -> str:
    """Who is in no run after the night and a purge."""
    write_day(days.root, 9)
    gone = next(id for id in days.vectors() if id.startswith("u"))
    pd.DataFrame({"type": ["user"], "id": [gone]}).to_csv(days.root / "gone.csv", index=False)
    sources = {"log": {"path": "log/*.parquet"}, "gone": {"path": "gone.csv"}}
    days.changed(sources=sources, forget={"source": "gone"})
    days.night()
    assert gone not in days.vectors()
    assert transra(days.root, "purge") == 0
    assert workspace_of(days.root).runs() == [latest_of(days.root)]
    return gone


def a_last_night(days: Days, gone: str) -> None:
    write_day(days.root, 10)
    days.night()
    assert gone not in days.vectors() and len(workspace_of(days.root).runs()) == 2
