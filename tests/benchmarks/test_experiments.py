"""The harness of the ablation: what is finished stays, what was killed resumes, what takes too long is said."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from artifacts.formats.graph import Bucket
from benchmarks.experiments import __main__ as experiments
from benchmarks.experiments.cells import Bench
from benchmarks.experiments.results import Cell, Row, read_cell, table
from pbg_transra import Diverged
from pbg_transra.backends.divergence import located
from tests.partitioning.test_errors import config

REPOSITORY = Path(__file__).resolve().parents[2]
MODEL = {"dimension": 8, "epochs": 1, "workers": 1, "batch_size": 50, "validate_every": 1}
STOCK = {"diagonal", "linear", "complex_diagonal"}
GRID = [{"similarity": "cos", "scale": 8}, {"similarity": "dot", "scale": 1}]


@pytest.fixture
def declared(tmp_path: Path) -> Path:
    """A directory of experiments with one, `tiny`: users click pins of their own block."""
    draws = np.random.default_rng(0)
    users = np.repeat(np.arange(60), 8)
    pins = users % 4 * 12 + draws.integers(0, 12, len(users))
    pd.DataFrame({"user": users, "pin": pins, "ts": 1}).to_parquet(tmp_path / "log.parquet")
    graph = config(
        split={"random": {"valid": 0.1, "test": 0.1}}, sources={"log": {"path": str(tmp_path / "log.parquet")}}
    )
    model = {**MODEL, "operator": "transra", "anchors": ["click"]}
    (tmp_path / "configs").mkdir()
    write(tmp_path / "configs", {"config": {"graph": graph, "model": model}})
    return tmp_path / "configs"


def write(directory: Path, changes: dict[str, Any]) -> None:
    path = directory / "tiny.json"
    base = {
        "operators": {"transra": {}, "transe": {"model": {"operator": "transe", "anchors": None}}},
        "grid": GRID,
        "seeds": [0, 1],
        "asked": ["click"],
        "minutes": 5,
    }
    earlier = json.loads(path.read_text()) if path.exists() else base
    path.write_text(json.dumps({**earlier, **changes}))


def make(declared: Path, *words: str) -> int:
    return experiments.main(["--data", "tiny", *words], declared, declared.parent / "out")


def cells(declared: Path) -> dict[str, Cell | None]:
    below = declared.parent / "out/experiments/tiny"
    return {str(path.relative_to(below)): read_cell(path) for path in sorted(below.glob("*/*.json"))}


@pytest.mark.slow
def test_a_table_is_made_once(
    declared: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert make(declared, "--operators", "transra", "--seeds", "0") == 0
    found = cells(declared)
    assert list(found) == [f"transra/{name}.json" for name in ("0", "setting-0", "setting-1")]
    assert all(cell and cell.outcome == "done" for cell in found.values())
    measures = found["transra/0.json"].measures
    assert 0.05 < measures["mrr"] <= 1 and 0 < measures["click recall@20"] <= 1
    assert measures["other pairs"] is None, "the anchor joins the only two types"
    scores = [found[f"transra/setting-{setting}.json"].score for setting in (0, 1)]
    assert found["transra/0.json"].setting == scores.index(max(scores))
    said = capsys.readouterr().out
    assert "| transra | similarity=" in said and "| transe | - |" in said and said.count("not run") == 1
    assert not list((declared.parent / "out").rglob(".benches"))
    kept = json.loads((declared.parent / "out/experiments.json").read_text())
    assert kept["tiny"]["transra"]["state"] == "1" and kept["machine"]

    monkeypatch.setattr(Bench, "make", lambda *args: pytest.fail("made again"))
    assert make(declared, "--operators", "transra", "--seeds", "0") == 0
    write(declared, {"grid": [{**GRID[0], "scale": 7}, GRID[1]]})
    with pytest.raises(pytest.fail.Exception, match="made again"):  # another setting is another cell
        make(declared, "--operators", "transra", "--seeds", "0")


@pytest.mark.slow
def test_a_killed_harness_resumes(declared: Path) -> None:
    """It is killed while the third command runs; what the first two made is there, and what is left is made."""
    out = declared.parent / "out"
    script = (
        "import os, signal, sys; from pathlib import Path;"
        "from benchmarks.experiments import __main__ as experiments, cells as c;"
        "real = c.write_json; seen = []\n"
        "def write(path, value):\n"
        "    seen.append(path); len(seen) > 2 and os.kill(os.getpid(), signal.SIGKILL); real(path, value)\n"
        "c.write_json = write\n"
        f"experiments.main(['--data', 'tiny', '--operators', 'transra'], Path({str(declared)!r}), Path({str(out)!r}))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    assert done.returncode == -signal.SIGKILL
    before = cells(declared)
    assert list(before) == ["transra/setting-0.json", "transra/setting-1.json"]
    assert make(declared, "--operators", "transra", "--seeds", "0") == 0
    after = cells(declared)
    assert list(after) == ["transra/0.json", *before] and after.items() >= before.items()


def test_a_command_dies_with_the_harness() -> None:
    """Else it would hold the lock of the workspace that the next harness needs."""
    script = (
        "import os, subprocess, sys; from benchmarks.experiments.cells import _die_with_parent as die;"
        "run = subprocess.Popen(['sleep', '600'], preexec_fn=die); print(run.pid, flush=True); os._exit(9)"
    )
    said = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    for _ in range(100):
        if not _running(int(said.stdout)):
            return
        time.sleep(0.05)
    pytest.fail("it lives on")


def _running(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().split(")")[1].split()[0]
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_over_budget_is_said_and_a_larger_budget_tries_again(
    declared: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(declared, {"minutes": 1e-4})
    assert make(declared, "--operators", "transra") == 0
    assert {cell.outcome for cell in cells(declared).values() if cell} == {"over budget"}
    assert "0 over budget (0.0001 min), 1 over budget (0.0001 min)" in capsys.readouterr().out
    with monkeypatch.context() as patch:
        patch.setattr(Bench, "make", lambda *args: pytest.fail("made again"))
        assert make(declared, "--operators", "transra") == 0
    write(declared, {"minutes": 5, "grid": GRID[:1]})
    assert make(declared, "--operators", "transra", "--seeds", "0") == 0
    assert cells(declared)["transra/0.json"].outcome == "done"


def test_a_divergence_is_a_result_and_another_failure_is_not(
    declared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command stands in that fails as `transra train` does when a loss is no longer finite."""
    with pytest.raises(Diverged) as error, located(1, Bucket(0, 0)):
        raise Diverged("a loss is not finite")
    write(declared, {"grid": GRID[:1], "seeds": [0]})
    monkeypatch.setattr(sys, "executable", str(stand_in(tmp_path, error.value.exit_code, error.value.lines)))
    assert make(declared, "--operators", "transra") == 0
    assert "0 diverged" in capsys.readouterr().out
    cell = cells(declared)["transra/0.json"]
    assert cell and "training diverged in epoch 1" in cell.said
    monkeypatch.setattr(sys, "executable", str(stand_in(tmp_path, 73, ["the disk is full"])))
    assert make(declared, "--operators", "transe") == 73
    assert "experiments: transra partition: the disk is full" in capsys.readouterr().err


def stand_in(directory: Path, exit_code: int, lines: Sequence[str]) -> Path:
    """A program that says of any command that it failed."""
    path = directory / "stand_in.sh"
    answer = json.dumps({"exit_code": exit_code, "errors": list(lines)})
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{answer}\nEND\nexit {exit_code}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("changes", "words", "message"),
    [
        ({}, ["--operators", "transea"], "--operators transea: unknown, did you mean 'transe'?"),
        ({}, ["--seeds", "7"], "--seeds 7: unknown"),
        ({"budget": 3}, [], "budget: Extra inputs are not permitted"),
        ({"operators": {"a": {"model": {"pul": 1}}}}, [], "tiny: a, setting 0: model.pul: unknown key"),
        ({"config": {"extends": "nowhere.json"}}, [], "nowhere.json: cannot be read"),
        ({"asked": ["buy"]}, [], "asked: buy"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained(
    declared: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    words: list[str],
    message: str,
) -> None:
    write(declared, changes)
    assert make(declared, *words) == 2
    assert message in capsys.readouterr().err
    assert not (declared.parent / "out").exists()


def test_every_experiment_of_ours_is_valid() -> None:
    plans = [experiments.load_plan(path) for path in experiments.CONFIGS.glob("*.json")]
    assert len({plan.name for plan in plans} & {"demo", "amazon_grocery", "complete_journey", "fb15k237", "globo"}) == 5
    for plan in plans:
        if plan.name != "demo_anchor":  # one operator with one anchor after the other
            rows = [plan.training(name, 0, 0).raw["model"]["operator"] for name in plan.experiment.operators]
            assert {"transr", "transe", "transra", "transra_untied", *STOCK} <= set(rows), plan.name


def test_a_table_shows_means_spreads_and_what_is_missing() -> None:
    def cell(outcome: str, **more: Any) -> Cell:
        return Cell("f", outcome, 2, 0, seconds=3.0, **more)

    cells = {
        "0": cell("done", measures={"mrr": 0.25}),
        "1": cell("done", measures={"mrr": 0.75}),
        "0-rank": cell("over budget"),
    }
    said = table("d", [Row("a", {"scale": 4}, 0.5, cells), Row("b", {}, None, {})])
    assert said.splitlines()[2] == "| a | scale=4 | 0.5000 | 0.5000 ± 0.3536 | 3.0 | 2, 0-rank over budget (2 min) |"
    assert said.splitlines()[3] == "| b | - | - | - | - | not run |"
