"""A gate that judges the ranker: `latest` moves once, after `rank`, whatever kills the command on its way."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from artifacts.files.publish import write_json
from pipeline.cli import main
from pipeline.workspace.workspace import Run
from tests.worlds.night_world import latest_of, transra, workspace_of, write_config, write_day

ROWS = 900
RANKER = {
    "impressions": "impressions.parquet",
    "user": "user",
    "slots": {"user": {"side": "user", "type": "user"}, "pin": {"side": "ad", "type": "pin"}},
    "numerics": {"n": "linear"},
    "labels": {"click": "click"},
    "min_match_rate": 0,
    "arms": {"both": {"ids": True, "vectors": "concat"}, "none": {}},
    "ids": {"rows": 256, "dim": 4},
    "bootstrap": 20,
}
GATE = {"auc": 0.1, "ne": 0.2, "match": 0.1}
KILLED_BEFORE_PUBLISHING = (
    "import os, signal, sys; from pipeline.running import runner; from pipeline.cli import main;"
    "runner.publish_past_gate = lambda *a: os.kill(os.getpid(), signal.SIGKILL); sys.exit(main(sys.argv[1:]))"
)


def write_impressions(root: Path, users: int = 30, clicks: int | None = None) -> None:
    rng = np.random.default_rng(0)
    user, pin = rng.integers(0, users, ROWS), rng.integers(0, 24, ROWS)
    rows = {"user": [f"u{one}" for one in user], "pin": [f"p{one}" for one in pin], "n": rng.normal(size=ROWS)}
    rows |= {"click": user % 4 == pin % 4 if clicks is None else np.full(ROWS, clicks), "ts": np.arange(ROWS) + 1e9}
    pd.DataFrame(rows).astype({"click": int, "ts": int}).to_parquet(root / "impressions.parquet")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """One night is published, and the log of the second is there."""
    write_day(tmp_path, 1)
    write_impressions(tmp_path)
    write_config(tmp_path, ranker=RANKER, gate=GATE)
    assert transra(tmp_path, "run") == 0
    write_day(tmp_path, 2)
    return tmp_path


def flatter(run: Run, change: Callable[[dict[str, Any]], None]) -> None:
    """Makes a published run's ranking better than any can be."""
    path = run.directory("rank") / "stage.json"
    record = json.loads(path.read_text())
    change(record["metrics"])
    write_json(path, record)


def without_auc(metrics: dict[str, Any]) -> None:
    metrics["arms"]["both"]["ctr"]["auc"] = metrics["arms"]["none"]["ctr"]["auc"] = None


BETTER: dict[str, Callable[[dict[str, Any]], None]] = {
    "auc": lambda metrics: metrics["arms"]["both"]["ctr"].update(auc=1.0),
    "ne": lambda metrics: metrics["arms"]["both"]["ctr"].update(ne=0.1),
    "match": lambda metrics: next(iter(metrics["match_rates"].values()))["user"].update(traffic=2.0),
}


@pytest.mark.parametrize("key", BETTER)
def test_a_worse_ranking_is_rejected(root: Path, capsys: pytest.CaptureFixture[str], key: str) -> None:
    first = latest_of(root)
    flatter(first, BETTER[key])
    capsys.readouterr()
    assert transra(root, "run") == 65
    (line,) = capsys.readouterr().err.splitlines()
    second = workspace_of(root).runs()[0]
    assert line.startswith(f"transra: run {second.id} is rejected, latest stays at {first.id}: {key} ")
    assert f"(gate.{key})" in line and latest_of(root) == first and second.record("rank") is not None
    assert transra(root, "run") == 65, "again the same, and nothing is trained"
    assert capsys.readouterr().err.splitlines() == [line]
    assert transra(root, "promote", second.id) == 0 and latest_of(root) == second


def test_a_good_ranking_is_published_after_it_is_made(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = latest_of(root)
    for stage in ("partition", "train", "evaluate", "export"):
        assert transra(root, stage) == 0
        assert latest_of(root) == first
    assert "export: is published after rank, which the gate judges" in capsys.readouterr().out
    assert transra(root, "rank") == 0
    assert latest_of(root) != first
    assert [line["action"] for line in workspace_of(root).publications()] == ["publish", "publish"]


def test_a_kill_before_it_moves_costs_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = latest_of(root)
    arguments = ["run", str(root / "c.json"), "--root", str(root)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    command = [sys.executable, "-c", KILLED_BEFORE_PUBLISHING, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    second = workspace_of(root).runs()[0]
    assert latest_of(root) == first and second.record("rank") is not None
    capsys.readouterr()
    assert transra(root, "run") == 0
    assert latest_of(root) == second and " in 0." not in capsys.readouterr().out, "nothing was made again"


def test_what_has_no_number_is_not_judged(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flatter(latest_of(root), without_auc)
    assert transra(root, "run") == 0
    out = capsys.readouterr().out
    assert "gate: auc is not compared: the published run has none" in out and "gate: ne" not in out


def test_a_log_that_the_ranker_refuses_leaves_latest(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the gate is to judge is not there."""
    first = latest_of(root)
    rows = pd.read_parquet(root / "impressions.parquet")
    rows.loc[rows.index > 0.7 * ROWS, "click"] = 0
    rows.to_parquet(root / "impressions.parquet")
    assert transra(root, "run") == 65
    assert "test rows are 1, expected both classes" in capsys.readouterr().err and latest_of(root) == first


REFUSED = {
    "no ranker": ({}, {"ranker": None}, "gate.auc: judges what `rank` measures; expected a section ranker"),
    "others' vectors": ({"vectors": ["runs/x"]}, {}, "gate.auc: judges the run's own vectors"),
    "another arm": (
        {"fit": {"arm": "none"}, "compare": ["both"]},
        {},
        "gate.auc: judges the arm of ranker.fit, 'none'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_gate_without_its_ranking_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    ranker, sections, said = REFUSED[case]
    write_config(tmp_path, **{"ranker": RANKER | ranker, "gate": {"auc": 0.1}, **sections})
    assert main(["config", "check", str(tmp_path / "c.json"), "--root", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err
