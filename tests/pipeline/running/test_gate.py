"""The gate, `promote`, `rollback` and `keep`: which run `latest` is, and which runs stay."""

import json
import shutil
import signal
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from artifacts.files.publish import write_json
from pipeline.running import publication
from pipeline.workspace import workspace
from pipeline.workspace.workspace import Run
from tests.worlds.night_world import latest_of, transra, workspace_of, write_config, write_day

STRICT = {"mrr": 0.1, "recall": 0.1, "edges": 1e6, "entities": 1e6}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """One night is published, and the log of the second is there."""
    write_day(tmp_path, 1)
    write_config(tmp_path)
    assert transra(tmp_path, "run") == 0
    write_day(tmp_path, 2)
    return tmp_path


def flatter(run: Run) -> None:
    """Makes a published run's evaluation better than any can be."""
    path = run.directory("evaluate") / "stage.json"
    record = json.loads(path.read_text())
    record["metrics"]["mrr"] = 1.0
    write_json(path, record)


def gated(root: Path, **gate: Any) -> None:
    write_config(root, gate=gate)


def actions(root: Path) -> list[str]:
    return [line["action"] for line in workspace_of(root).publications()]


def test_a_worse_night_is_rejected_until_someone_promotes_it(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = latest_of(root)
    flatter(first)
    gated(root, **STRICT)
    capsys.readouterr()
    assert transra(root, "run") == 65
    (line,) = capsys.readouterr().err.splitlines()
    (second, _) = workspace_of(root).runs()
    assert line.startswith(f"transra: run {second.id} is rejected, latest stays at {first.id}: mrr 0.")
    assert (
        "published 1.0000, expected at least 0.9000 (gate.mrr)" in line and f"promote {root}/c.json {second.id}" in line
    )
    assert latest_of(root) == first and second.record("export") is not None
    assert transra(root, "run") == 65, "again the same, and nothing is trained"
    assert capsys.readouterr().err.splitlines() == [line]
    assert transra(root, "status") == 0
    assert f"rejected  {second.id}: mrr" in capsys.readouterr().out
    assert transra(root, "promote", second.id) == 0
    assert latest_of(root) == second and second.rejection() is None
    assert transra(root, "run") == 0, "and it stays"
    assert actions(root) == ["publish", "reject", "promote"]


def test_a_looser_gate_publishes_what_was_rejected(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gated(root, edges=0.01)
    assert transra(root, "run") == 65
    assert "expected within 0.01 of them (gate.edges)" in capsys.readouterr().err
    rejected = workspace_of(root).runs()[0]
    gated(root, edges=10)
    assert transra(root, "run") == 0
    assert latest_of(root) == rejected and rejected.rejection() is None
    assert "train: up to date" in capsys.readouterr().out


def test_stage_by_stage_the_gate_evaluates_itself(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flatter(latest_of(root))
    gated(root, mrr=0.1)
    for stage, code in (("partition", 0), ("train", 0), ("export", 65)):
        assert transra(root, stage) == code
    assert "gate.mrr" in capsys.readouterr().err


def test_a_relation_that_shrinks_is_rejected(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where all edges together hide it; one that is gone has none."""
    config = json.loads((root / "c.json").read_text())
    config["graph"]["relations"].append({**config["graph"]["relations"][0], "name": "seen"})
    config["graph"]["relations"][0]["where"] = "\"user\" = 'u1'"
    config["gate"] = {"relations": 10, "edges": 10}
    (root / "c.json").write_text(json.dumps(config))
    assert transra(root, "run") == 0, "a new relation is none that shrinks"
    config["gate"]["relations"] = 0.5
    config["graph"]["relations"] = config["graph"]["relations"][1:]
    (root / "c.json").write_text(json.dumps(config))
    assert transra(root, "run") == 65
    assert "0 edges of relation 'click', published" in (error := capsys.readouterr().err)
    assert "expected within 0.5 of them (gate.relations)" in error and "'seen'" not in error


@pytest.mark.parametrize("day", ["nothing new", "one pin"])
def test_a_test_window_with_nothing_to_say_publishes(tmp_path: Path, day: str) -> None:
    """A window whose events were all seen before, and a type with one entity, among which everything is first."""
    write_day(tmp_path, 1)
    log = tmp_path / "log/day-1.parquet"
    frame = pd.read_parquet(log).assign(ts=lambda frame: frame.index.where(frame.index < 300, frame.index + 1000))
    if day == "one pin":
        frame["pin"] = "p0"
    else:
        frame = pd.concat([frame[:300], frame[:100].assign(ts=lambda part: part["ts"] + 1300)])
    frame.to_parquet(log)
    write_config(tmp_path, gate=STRICT | {"overlap": 0.01, "relations": 0.9})
    config = json.loads((tmp_path / "c.json").read_text())
    config["graph"]["sources"]["log"] |= {"time_column": "ts", "time_unit": "s"}
    config["graph"]["split"] = {"time": {"valid_from": 1100, "test_from": 1200}}
    (tmp_path / "c.json").write_text(json.dumps(config))
    assert transra(tmp_path, "run") == 0
    first = latest_of(tmp_path)
    assert transra(tmp_path, "run", "--set", "model.seed=1") == 0
    assert latest_of(tmp_path) != first


@pytest.mark.parametrize(("key", "least"), [("overlap", 0.99), ("cosine", 0.99)])
def test_vectors_that_drift_are_rejected(
    root: Path, capsys: pytest.CaptureFixture[str], key: str, least: float
) -> None:
    gated(root, **{key: least})
    assert transra(root, "run") == 65
    assert f"of type 'user', expected at least {least} (gate.{key})" in capsys.readouterr().err


def test_an_evaluation_with_nothing_to_say_publishes(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flatter(latest_of(root))
    config = json.loads((root / "c.json").read_text())
    config["graph"]["split"] = {"random": {"valid": 0.05, "test": 0.0}}
    config["gate"] = STRICT
    (root / "c.json").write_text(json.dumps(config))
    first = latest_of(root)
    assert transra(root, "run") == 0
    assert latest_of(root) != first and "gate: mrr is not compared: this run has none" in capsys.readouterr().out


def test_rolled_back_stays_rolled_back(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Cron runs the same night again: it is not published a second time, the next night is."""
    first = latest_of(root)
    assert transra(root, "run") == 0
    second = latest_of(root)
    assert transra(root, "rollback") == 0
    assert latest_of(root) == first
    assert transra(root, "run") == 65
    assert f"run {second.id} is rejected, latest stays at {first.id}: rolled back to" in capsys.readouterr().err
    assert transra(root, "rollback") == 2, "there is no earlier one"
    write_day(root, 3)
    assert transra(root, "run") == 0
    assert latest_of(root) not in (first, second)
    assert transra(root, "rollback") == 0, "past the one that was rolled back"
    assert latest_of(root) == first
    lines = workspace_of(root).publications()
    assert [line["action"] for line in lines] == [
        "publish",
        "publish",
        "reject",
        "rollback",
        "publish",
        "reject",
        "rollback",
    ]
    assert all({"time", "user", "run", "latest_before"} <= line.keys() for line in lines)


@pytest.mark.parametrize("removal", ["purge", "keep"])
def test_a_rollback_outlives_the_run_that_it_rejected(
    root: Path, capsys: pytest.CaptureFixture[str], removal: str
) -> None:
    """Made anew from the same, it would be what somebody went back from; promoted, nothing is held against it."""
    first = latest_of(root)
    assert transra(root, "run") == 0
    second = latest_of(root)
    assert transra(root, "rollback") == 0
    if removal == "purge":
        assert transra(root, "purge") == 0
    else:
        write_config(root, keep={"runs": 2, "rejected": 0})
        assert transra(root, "run") == 65
    assert workspace_of(root).runs() == [first]
    write_config(root)
    capsys.readouterr()
    assert transra(root, "run") == 65
    (again, _) = workspace_of(root).runs()
    assert again != second and latest_of(root) == first
    assert f"run {again.id} is rejected, latest stays at {first.id}: rolled back to" in capsys.readouterr().err
    assert transra(root, "promote", again.id) == 0
    assert latest_of(root) == again
    workspace_of(root).publish(first)
    assert transra(root, "run") == 0
    assert latest_of(root) == again


def test_a_rollback_that_was_killed_goes_no_further_back(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`latest` has moved, and nobody has said so: whoever repeats the command means the same rollback."""
    first = latest_of(root)
    assert transra(root, "run") == 0
    second = latest_of(root)
    write_day(root, 3)
    assert transra(root, "run") == 0
    with monkeypatch.context() as patch:
        patch.setattr(publication, "settled", lambda context: signal.raise_signal(signal.SIGTERM))
        assert transra(root, "rollback") == 130
    assert latest_of(root) == second
    assert transra(root, "rollback") == 0
    assert latest_of(root) == second, "the same one"
    assert transra(root, "rollback") == 0
    assert latest_of(root) == first, "and this is another"


def test_names_of_runs_are_in_order_where_the_clock_is_not(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = latest_of(root)

    class Earlier(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime.now(tz) - timedelta(days=3)

    monkeypatch.setattr(workspace, "datetime", Earlier)
    assert transra(root, "run") == 0
    newest = workspace_of(root).runs()[0]
    assert newest == latest_of(root) and newest.id > first.id


def test_what_cannot_be_promoted_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = latest_of(root)
    assert transra(root, "promote", "20991231T000000.000Z-00000000") == 2
    assert f"expected one of: {first.id}" in capsys.readouterr().err
    vectors = first.directory("export") / "embeddings.h5"
    vectors.write_bytes(vectors.read_bytes()[:-1] + b"!")
    assert transra(root, "promote", first.id) == 65


def test_only_so_many_runs_stay(root: Path) -> None:
    """The newest, `latest` whatever its age, and of rejected ones their own number."""
    first = latest_of(root)
    write_config(root, keep={"runs": 2, "rejected": 1}, gate={"edges": 0.01})
    workspace = workspace_of(root)
    for day in (2, 3):
        write_day(root, day)
        assert transra(root, "run") == 65
    (second,) = [run for run in workspace.runs() if run.rejection()]
    assert workspace.runs() == [second, first]
    write_config(root, keep={"runs": 2, "rejected": 0})
    for day in (4, 5):
        write_day(root, day)
        assert transra(root, "run") == 0
    assert len(workspace.runs()) == 2 and workspace.runs()[0] == latest_of(root)
    assert first not in workspace.runs() and second not in workspace.runs()


def test_a_removal_that_was_killed_is_finished(root: Path) -> None:
    shutil.copytree(latest_of(root).path, workspace_of(root).path / ".purged-20200101T000000.000Z-00000000")
    write_config(root, keep={"runs": 1})
    assert transra(root, "run") == 0
    assert len(workspace_of(root).runs()) == 1 and not list(workspace_of(root).path.glob(".purged-*"))
