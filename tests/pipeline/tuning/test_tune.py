"""`transra tune`: what it finds, what it writes, and that a killed one resumes."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from pbg_transra import SPACE, Diverged
from pipeline.cli import main
from pipeline.config.loading import load_config, read_raw
from pipeline.stages.train import Train
from pipeline.tuning import study
from pipeline.tuning.search import Search
from pipeline.tuning.space import OF_MANY_EDGES
from pipeline.tuning.tuned_config import differing
from tests.partitioning.test_errors import config

MODEL = {"operator": "transra", "anchors": ["click"], "dimension": 8, "epochs": 2, "workers": 1, "batch_size": 50}


@pytest.fixture(autouse=True)
def no_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Syncing waits for whatever else writes on the machine."""
    monkeypatch.setattr(os, "sync", lambda: None)


def write(root: Path, model: dict[str, Any], valid: float = 0.2, name: str = "c.json") -> Path:
    """Users click pins of their own block; a config over these clicks."""
    draws = np.random.default_rng(0)
    users = np.repeat(np.arange(60), 8)
    pins = users % 4 * 12 + draws.integers(0, 12, len(users))
    pd.DataFrame({"user": users, "pin": pins, "ts": 1}).to_parquet(root / "log.parquet")
    graph = config(split={"random": {"valid": valid}} if valid else {})
    (root / name).write_text(json.dumps({"graph": graph, "model": {**MODEL, **model}}))
    return root / name


def tune(path: Path, *more: str) -> int:
    return main(["tune", str(path), "--root", str(path.parent), *more])


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_better_setting_is_found_and_the_second_call_trains_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, {"lr": 1e-3, "validate_by": "mrr", "validate_every": 1})
    assert tune(path, "--trials", "5", "--all", "--json") == 0
    found = said(capsys)
    assert (found["metric"], len(found["trials"])) == ("MRR", 5)
    assert found["best"]["score"] > 1.2 * found["as_it_is"] > 0
    tuned = load_config(tmp_path / "c.tuned.json")
    assert read_raw(tmp_path / "c.tuned.json").keys() == json.loads(path.read_text()).keys(), "`extends` was followed"
    changes = differing(load_config(path).trained.model_dump(), tuned.trained.model_dump())
    assert changes == found["best"]["settings"] and changes["lr"] >= 0.03
    assert changes["lr"] == float(f"{changes['lr']:.3g}"), "short to read"
    assert tuned.graph == load_config(path).graph
    workspace = tmp_path / "runs" / "c"
    assert not (workspace / ".tuning").exists() and (workspace / "tune.sqlite").exists()
    monkeypatch.setattr(Train, "make", lambda *args, **kwargs: pytest.fail("trained again"))
    assert tune(path, "--trials", "5", "--all", "--json") == 0
    assert said(capsys) == found


@pytest.mark.slow
def test_what_is_written_gives_the_score(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, {"epochs": 3})
    assert tune(path, "--trials", "4", "--all", "--json") == 0
    best = said(capsys)["best"]
    out, validated = str(tmp_path / "c.tuned.json"), ["model.validate_every=1", "model.validate_by=retrieval"]
    sets = [word for value in validated for word in ("--set", value)]
    for stage in ("partition", "train"):
        assert main([stage, out, "--root", str(tmp_path), "--json", *sets]) == 0
    assert best["number"] > 0
    metrics = json.loads(capsys.readouterr().out.splitlines()[-1])["stages"]["train"]["metrics"]
    assert metrics["validation_retrieval"][-1][1] == best["score"]


def test_a_killed_tune_resumes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two trials and within one: chosen is what would have been."""
    path = write(tmp_path, {})
    assert tune(path, "--trials", "4", "--workspace", str(tmp_path / "whole"), "--json") == 0
    whole = said(capsys)
    assert tune(path, "--trials", "1") == 0
    with monkeypatch.context() as patch:
        patch.setattr(Train, "make", lambda *args, **kwargs: signal.raise_signal(signal.SIGTERM))
        assert tune(path, "--trials", "4") == 130
    capsys.readouterr()
    trained = []
    with monkeypatch.context() as patch:
        trial = Search._trial
        patch.setattr(Search, "_trial", lambda *args: trained.append(args) or trial(*args))
        assert tune(path, "--trials", "4", "--json") == 0
    assert len(trained) == 3
    resumed = said(capsys)
    for kept in ("asked", "score", "outcome"):
        assert [trial[kept] for trial in resumed["trials"]] == [trial[kept] for trial in whole["trials"]]


@pytest.mark.slow
def test_written_keys_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, {"similarity": "dot", "uniform_negatives": 50})
    assert tune(path, "--trials", "3", "--json", "--set", "model.lr=0.2") == 0
    kept = {*MODEL, "similarity", "uniform_negatives", "lr"}
    for trial in said(capsys)["trials"]:
        assert not trial["asked"].keys() & kept
    tuned = load_config(tmp_path / "c.tuned.json").trained
    assert (tuned.lr, tuned.similarity, tuned.epochs) == (0.2, "dot", 2), "what --set said is in the file, too"


@pytest.mark.parametrize("written", [False, True])
def test_the_regularization_of_many_edges_is_tried_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], written: bool
) -> None:
    """Unless the config has chosen one."""
    path = write(tmp_path, {"regularization": 0.15} if written else {})
    assert tune(path, "--trials", "2", "--json") == 0
    first, second = said(capsys)["trials"]
    changes = {"regularization": OF_MANY_EDGES}
    assert "regularization" not in first["settings"] and (second["settings"].items() >= changes.items()) != written


def test_a_night_that_begins_warm_is_tuned_in_the_space_of_the_night_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, {"warm_start": "latest"})
    assert main(["run", str(path), "--root", str(tmp_path)]) == 0
    clicks = pd.read_parquet(tmp_path / "log.parquet")
    clicks.iloc[:-20].to_parquet(tmp_path / "log.parquet")
    capsys.readouterr()
    assert tune(path, "--trials", "3", "--all", "--json") == 0
    trials = said(capsys)["trials"]
    assert len(trials) == 3
    assert all(not {*SPACE} & {*trial["settings"]} for trial in trials)


def test_a_setting_that_diverges_has_no_score(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The config as it is cannot be one: there would be nothing to compare with."""
    path, make, diverging = write(tmp_path, {}), Train.make, [False, True, False]

    def sometimes(*args: Any, **kwargs: Any) -> dict[str, Any]:
        if diverging.pop(0):
            raise Diverged("a loss is not finite")
        return make(*args, **kwargs)

    monkeypatch.setattr(Train, "make", sometimes)
    assert tune(path, "--trials", "3", "--json") == 0
    found = said(capsys)["trials"]
    assert [(trial["outcome"], trial["score"] is None) for trial in found][:2] == [("done", False), ("diverged", True)]
    diverging.append(True)
    assert tune(write(tmp_path, {"dimension": 9}), "--trials", "3") == 65


@pytest.mark.parametrize("valid", [0.0, 1e-9])
def test_without_a_valid_split(tmp_path: Path, valid: float, capsys: pytest.CaptureFixture[str]) -> None:
    """None wanted: before the graph is made; an empty one: before anything is trained."""
    path = write(tmp_path, {}, valid)
    assert tune(path) == 2
    assert "valid split" in capsys.readouterr().err
    assert (tmp_path / "runs").exists() == bool(valid)


def test_a_file_of_somebody_else_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, {})
    mine = tmp_path / "c.tuned.json"
    mine.write_text("{}")
    assert tune(path, "--trials", "1") == 2
    assert mine.read_text() == "{}" and "was not written by" in capsys.readouterr().err
    for out in (path, tmp_path / "none" / "x.json"):
        assert tune(path, "--trials", "1", "--out", str(out)) == 2
    assert not (tmp_path / "runs").exists()


def test_a_spoilt_file_of_trials(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, workspace = write(tmp_path, {}), tmp_path / "runs" / "c"
    workspace.mkdir(parents=True)
    (workspace / "tune.sqlite").write_text("no trials " * 1000)
    assert tune(path) == 65
    assert f"{workspace / 'tune.sqlite'}: expected the trials of earlier tunes" in capsys.readouterr().err
    (workspace / "tune.sqlite").unlink()
    (workspace / "tune.sqlite").mkdir()
    assert tune(path) == 73


def test_a_dry_run_makes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tune(write(tmp_path, {}), "--dry-run", "--json") == 0
    assert [stage["stage"] for stage in said(capsys)["stages"]] == ["partition"]
    assert not (tmp_path / "runs").exists()


def test_one_command_at_a_time(tmp_path: Path) -> None:
    path, workspace = write(tmp_path, {}), tmp_path / "runs" / "c"
    workspace.mkdir(parents=True)
    with FileLock(workspace / ".lock"):
        assert tune(path) == 75


def test_without_optuna(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "find_spec", lambda name: None)
    assert tune(write(tmp_path, {})) == 2
    assert capsys.readouterr().err == (
        "transra: tune: the package 'optuna' is not installed; `pip install '.[tune]'`\n"
    )
