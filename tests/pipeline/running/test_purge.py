"""`transra purge`, the line that asks for it, and whose workspace it is."""

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from pipeline.cli import main
from pipeline.running import purge as purge_module
from pipeline.workspace.workspace import Run, Workspace
from tests.partitioning.test_errors import config

CONSENT = {"source": "people", "type": "user", "column": "user"}


def write(root: Path, name: str, users: range, file: str = "c.json", **changes) -> None:
    """A log of offsite clicks of users who agreed, a list of them, and a config."""
    pd.DataFrame([(user, f"p{user % 7}", 1) for user in users], columns=["user", "pin", "ts"]).to_parquet(
        root / f"{name}.parquet"
    )
    pd.DataFrame({"user": range(100)}).to_csv(root / "people.csv", index=False)
    graph = config(
        sources={
            "log": {"path": f"{name}.parquet", "time_column": "ts", "time_unit": "s"},
            "people": {"path": "people.csv"},
        },
        relations=[{**config()["relations"][0], "domain": "offsite", "consent": CONSENT}],
        **changes,
    )
    (root / file).parent.mkdir(exist_ok=True)
    (root / file).write_text(json.dumps({"graph": graph, "model": {"operator": "transr"}}))


def transra(root: Path, command: str, *more: str, file: str = "c.json") -> int:
    return main([command, str(root / file), "--root", str(root), *more])


def published(root: Path) -> Run:
    """Partitions, and publishes that."""
    assert transra(root, "partition") == 0
    workspace = Workspace(root / "runs/c")
    workspace.publish(workspace.runs()[0])
    return workspace.runs()[0]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two published runs, the second after a withdrawal, and what killed commands left behind."""
    write(tmp_path, "log", range(20))
    published(tmp_path)
    pd.DataFrame({"user": range(10)}).to_csv(tmp_path / "people.csv", index=False)
    run = published(tmp_path)
    for left in ("model.partial", "prepared", ".manifest.json.partial"):
        (run.path / left).mkdir(parents=True)
    for left in (".calibration-x", ".tuning"):
        (tmp_path / "runs/c" / left).mkdir()
    return tmp_path


def test_partition_says_that_earlier_runs_are_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "log", range(20))
    published(tmp_path)
    assert "earlier runs" not in capsys.readouterr().out
    pd.DataFrame({"user": range(10)}).to_csv(tmp_path / "people.csv", index=False)
    published(tmp_path)
    said = capsys.readouterr().out
    assert "partition: earlier runs with other lists of consent or of ids to forget: 1; once this one" in said
    assert f"`transra purge {tmp_path / 'c.json'} --root {tmp_path}` removes them" in said


def test_purge_keeps_the_published_run_alone(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = Workspace(root / "runs/c")
    kept, earlier = workspace.runs()
    before = {path: path.read_bytes() for path in kept.path.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert transra(root, "purge", "--dry-run", "--json") == 0
    doomed = json.loads(capsys.readouterr().out)["to_remove"]
    left = [kept.path / name for name in (".manifest.json.partial", "model.partial", "prepared")]
    assert sorted(doomed) == sorted(
        map(str, [workspace.path / ".calibration-x", workspace.path / ".tuning", earlier.path, *left])
    )
    assert earlier.path.exists() and all(path.exists() for path in left)
    assert transra(root, "purge") == 0
    assert f"purge: removes {earlier.path}" in capsys.readouterr().out
    assert workspace.runs() == [kept] and workspace.latest == kept
    assert not any(Path(path).exists() for path in doomed)
    assert {path: path.read_bytes() for path in kept.path.rglob("*") if path.is_file()} == before
    assert transra(root, "purge") == 0 and "purge: 0 removed" in capsys.readouterr().out


def test_a_run_of_other_lists_is_not_kept(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    earlier = Workspace(root / "runs/c").runs()[1]
    pd.DataFrame({"user": range(5)}).to_csv(root / "people.csv", index=False)
    assert transra(root, "purge") == 2
    assert "the published run was made with other lists of consent or of ids to forget; run `transra run" in (
        capsys.readouterr().err
    )
    assert earlier.path.exists()


def test_a_log_that_grew_does_not_matter(root: Path) -> None:
    more = pd.DataFrame([(1, "p", 1)], columns=["user", "pin", "ts"])
    more.to_parquet(root / "log.parquet")
    assert transra(root, "purge") == 0


@pytest.mark.parametrize("change", ["graph.relations[0].consent.where='true'", "graph.forget={source: 'people'}"])
def test_another_config_of_consent_is_another_list(root: Path, change: str) -> None:
    assert transra(root, "purge", "--set", change) == 2


def test_nothing_published_is_nothing_to_keep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "log", range(20))
    assert transra(tmp_path, "partition") == 0
    assert transra(tmp_path, "purge") == 2
    assert "nothing is published yet; run `transra run" in capsys.readouterr().err


def test_an_interrupted_purge_is_repeated(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace(root / "runs/c")
    kept = workspace.latest
    monkeypatch.setattr(purge_module.shutil, "rmtree", lambda path: os.remove(next(path.rglob("stage.json"))) or 1 / 0)
    assert transra(root, "purge") == 70
    monkeypatch.undo()
    assert all(run == kept or run.record("partition") for run in workspace.runs()), "no run is half there"
    assert transra(root, "purge") == 0
    assert workspace.runs() == [kept] and not list(workspace.path.glob(".purged-*"))


def test_two_configs_of_one_stem_do_not_share_a_workspace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "log", range(20), "a/c.json")
    write(tmp_path, "other", range(50, 80), "b/c.json")
    assert transra(tmp_path, "partition", file="a/c.json") == 0
    for command in ("partition", "status", "purge"):
        assert transra(tmp_path, command, file="b/c.json") == 2
        told = capsys.readouterr().err
        assert "runs/c: belongs to the config a/c.json, this is b/c.json; choose another --workspace" in told
    assert transra(tmp_path, "partition", "--workspace", str(tmp_path / "runs/b"), file="b/c.json") == 0


def test_a_checkout_or_a_config_may_move(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    write(tmp_path / "old", "log", range(20), "a/c.json")
    assert transra(tmp_path / "old", "partition", file="a/c.json") == 0
    shutil.move(tmp_path / "old", tmp_path / "new")
    assert transra(tmp_path / "new", "status", file="a/c.json") == 0
    shutil.move(tmp_path / "new/a", tmp_path / "new/b")
    assert transra(tmp_path / "new", "partition", file="b/c.json") == 0
    write(tmp_path / "new", "log", range(30), "b/c.json", seed=3)
    assert transra(tmp_path / "new", "partition", file="b/c.json") == 0, "the same config may change"


def test_an_owner_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "log", range(20))
    (tmp_path / "runs/c").mkdir(parents=True)
    (tmp_path / "runs/c/.config.json").write_text("[]")
    assert transra(tmp_path, "partition") == 2
    assert ".config.json: expected which config this workspace belongs to; remove it" in capsys.readouterr().err
