"""Nights of a small shop: each adds a day of clicks by old and new users, and trains from scratch or warm."""

import json
import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pbg_transra.training import loop
from pipeline.cli import main
from pipeline.workspace.workspace import Run, Workspace
from tests.worlds.forks import Fork

REPOSITORY = Path(__file__).resolve().parents[2]
GROUPS, PINS, NEW_USERS, CLICKS = 4, 24, 12, 400


def write_day(root: Path, day: int, clicks: int = CLICKS) -> None:
    """Users like the pins of their own group; twelve more users come every day."""
    draw = np.random.default_rng(day)
    users = draw.integers(0, 24 + NEW_USERS * day, clicks)
    pins = draw.integers(0, PINS // GROUPS, clicks) * GROUPS + users % GROUPS
    frame = pd.DataFrame({"user": [f"u{user}" for user in users], "pin": [f"p{pin}" for pin in pins]})
    (root / "log").mkdir(exist_ok=True)
    frame.to_parquet(root / "log" / f"day-{day}.parquet")


def write_config(root: Path, model: Mapping[str, Any] | None = None, **sections: Any) -> None:
    ends = {side: {"type": name, "column": name} for side, name in (("lhs", "user"), ("rhs", "pin"))}
    graph = {
        "partitions": 2,
        "sources": {"log": {"path": "log/*.parquet"}},
        "entities": {"user": {}, "pin": {}},
        "relations": [{"name": "click", "source": "log", **ends}],
        "split": {"random": {"valid": 0.05, "test": 0.1}},
    }
    settings = {"operator": "transr", "dimension": 8, "epochs": 1, "workers": 1, "batch_size": 100, **(model or {})}
    (root / "c.json").write_text(json.dumps({"graph": graph, "model": settings, **sections}))


def transra(root: Path, command: str, *more: str) -> int:
    return main([command, str(root / "c.json"), *more, "--root", str(root)])


def killed_in_training(root: Path, command: str) -> int:
    """Runs a command that is killed after its training's first pass; returns what its process answered."""

    def work() -> int:
        commit = loop.Loop._commit_pass

        def killed(self: loop.Loop, done: bool) -> None:
            if self.files.passes == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            commit(self, done)

        loop.Loop._commit_pass = killed
        return transra(root, command)

    return Fork(work, root / "said.txt").end()[0]


def workspace_of(root: Path) -> Workspace:
    return Workspace(root / "runs" / "c")


def newest(root: Path) -> Run:
    return workspace_of(root).runs()[0]


def latest_of(root: Path) -> Run:
    latest = workspace_of(root).latest
    assert latest is not None
    return latest


def copy_of(root: Path, to: Path) -> Path:
    """A copy whose logs have the same times, so that all is as up to date as it was. Paths of inputs lead elsewhere."""
    shutil.copytree(root, to, symlinks=True)
    return to
