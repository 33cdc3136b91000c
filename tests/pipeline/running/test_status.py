"""What `status` says, what hints name, and that one command looks at the sources once."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from filelock import FileLock

import partitioning
from pipeline.arguments import parser
from pipeline.cli import main
from pipeline.workspace.lock import holder_of, locked
from pipeline.workspace.workspace import Workspace
from tests.partitioning.test_errors import config

REPOSITORY = Path(__file__).resolve().parents[3]
TINY = {"operator": "transr", "dimension": 8, "epochs": 1, "workers": 1}


def write_root(root: Path) -> Path:
    """A root with a small log and its config."""
    log = pd.DataFrame([(user, f"p{user % 7}", 1) for user in range(60)], columns=["user", "pin", "ts"])
    log.to_parquet(root / "log.parquet")
    (root / "c.json").write_text(json.dumps({"graph": config(), "model": TINY}))
    return root


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root whose run went all the way; tests that change it work on a copy."""
    root = write_root(tmp_path_factory.mktemp("status"))
    assert main(command(root, "run")) == 0
    return root


def command(root: Path, name: str, *more: str) -> list[str]:
    return [name, str(root / "c.json"), "--root", str(root), *more]


def status(root: Path, capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Any], str]:
    """What it answers, and what it prints."""
    capsys.readouterr()
    assert main(command(root, "status", "--json")) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert main(command(root, "status")) == 0
    return answer, capsys.readouterr().out


def test_only_stages_of_the_config_are_shown(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither `rank` without its section, nor `evaluate` where no edge is held out."""
    answer, _ = status(published, capsys)
    assert {name: stage["state"] for name, stage in answer["stages"].items()} == dict.fromkeys(
        ["partition", "train", "export"], "up to date"
    )


def test_what_another_command_is_making_is_not_interrupted(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(shutil.copytree(published, tmp_path / "root", symlinks=True))
    workspace = Workspace(root / "runs/c")
    partial = workspace.runs()[0].partial("train")
    partial.mkdir()
    with locked(workspace.path):
        answer, text = status(root, capsys)
    assert (answer["interrupted"], answer["unfinished"]) == ([], [str(partial)])
    assert "interrupted" not in text
    assert f"process {os.getpid()} on" in answer["holder"] and answer["holder"] in text
    answer, text = status(root, capsys)
    assert (answer["interrupted"], answer["unfinished"], answer["holder"]) == ([str(partial)], [], None)
    assert f"interrupted {partial}: repeat the command" in text


def test_asking_who_holds_a_workspace_does_not_take_it(tmp_path: Path) -> None:
    assert holder_of(tmp_path) is None, "nothing was ever locked there"
    with FileLock(tmp_path / ".lock"):
        for text in ("", "{}", "3", '{"command": "x"}'):
            (tmp_path / ".holder.json").write_text(text)
            assert holder_of(tmp_path) == "another command"
    for _ in range(3):
        assert holder_of(tmp_path) is None
        with locked(tmp_path):
            pass


@pytest.mark.parametrize("asked", [["neighbors"], ["train"], ["export"], ["config", "pbg"]], ids=" ".join)
def test_a_hint_is_a_command_that_helps(tmp_path: Path, capsys: pytest.CaptureFixture[str], asked: list[str]) -> None:
    """What the hint names runs as it is, on the same root, workspace and overrides, until the first command works."""
    root = tmp_path / "with space"
    root.mkdir()
    write_root(root)
    *words, name = asked
    more = ["--workspace", str(root / "w"), "--set", "model.seed=1", *(["user", "1"] if name == "neighbors" else [])]
    first, stages = [*words, *command(root, name, *more)], []
    while main(first) == 2:
        error = capsys.readouterr().err
        program, *hint = shlex.split(error.rpartition("run `")[2].partition("`")[0])
        assert program == "transra"
        assert parser().parse_args(hint).set == ["model.seed=1"]
        assert main(hint) == 0
        stages.append(hint[0])
    assert stages == {"train": ["partition"], "export": ["partition", "train"]}.get(name, ["run"])


def test_a_kill_before_the_views_were_written_is_mended(published: Path, tmp_path: Path) -> None:
    """A stage was published, and the command was killed before it wrote metrics.json and manifest.json."""
    workspace = Path(shutil.copytree(published / "runs/c", tmp_path / "c", symlinks=True))
    run = (workspace / "latest").resolve()
    whole = {name: json.loads((run / name).read_text()) for name in ("metrics.json", "manifest.json")}
    for left in ({"run": run.name}, None):
        for name in whole:
            (run / name).unlink()
            if left:
                (run / name).write_text(json.dumps(left))
        (run / ".manifest.json.partial").write_text("{")
        assert main(command(published, "export", "--workspace", str(workspace))) == 0
        assert {name: json.loads((run / name).read_text()) for name in whole} == whole
        assert not (run / ".manifest.json.partial").exists()


def test_a_command_looks_at_its_sources_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So all stages speak of the same files, and a file that arrives meanwhile is the next command's."""
    root, looks = write_root(tmp_path), []
    real = partitioning.source_files

    def counted(*arguments: Any, **named: Any) -> dict[str, list[Path]]:
        looks.append(arguments)
        return real(*arguments, **named)

    monkeypatch.setattr(partitioning, "source_files", counted)
    for at in ("partitioning.build", "partitioning.inspection.plan", "partitioning.ledger.continuation"):
        monkeypatch.setattr(f"{at}.source_files", counted, raising=False)
    assert main(command(root, "run")) == 0
    assert len(looks) == 1


def test_a_file_that_arrives_during_a_run_is_left_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_root(tmp_path)
    raw = json.loads((root / "c.json").read_text())
    raw["graph"]["sources"]["log"]["path"] = "*.parquet"
    (root / "c.json").write_text(json.dumps(raw))
    real = partitioning.build_graph

    def build_then_arrive(*arguments: Any) -> Any:
        report = real(*arguments)
        shutil.copy(root / "log.parquet", root / "later.parquet")
        return report

    monkeypatch.setattr(partitioning, "build_graph", build_then_arrive)
    assert main(command(root, "run")) == 0
    monkeypatch.undo()
    answer, _ = status(root, capsys)
    assert answer["stages"]["partition"]["state"] == "stale"
    assert "later.parquet" in answer["stages"]["partition"]["why"][0]


def test_a_quiet_run_prints_nothing(published: Path) -> None:
    """What cron calls: it mails whatever is printed."""
    words = [sys.executable, "-m", "pipeline.cli", *command(published, "run", "--quiet")]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
