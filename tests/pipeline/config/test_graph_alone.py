"""A config without a model section is of a graph alone: it is partitioned, and what would be trained is named."""

import json
from pathlib import Path

import pytest

from pipeline.cli import main
from tests.partitioning.test_errors import config, log
from tests.worlds.small_impressions import config as ranker_config


@pytest.fixture
def path(tmp_path: Path) -> Path:
    log().to_parquet(tmp_path / "log.parquet")
    raw = {"graph": config(split={"random": {"test": 0.5}})}
    (tmp_path / "alone.json").write_text(json.dumps(raw))
    return tmp_path / "alone.json"


def transra(path: Path, *words: str) -> int:
    command = words[:2] if words[0] == "config" else words[:1]
    return main([*command, str(path), "--root", str(path.parent), *words[len(command) :]])


def test_every_command_of_a_graph_alone(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert transra(path, "config", "check") == 0 and "good" in capsys.readouterr().out
    assert transra(path, "run", "--dry-run") == 0 and "partition: stale" in capsys.readouterr().out
    assert transra(path, "partition") == 0
    (run,) = (path.parent / "runs/alone").glob("2*")
    assert {one.name for one in run.iterdir() if one.is_dir()} == {"graph"}
    capsys.readouterr()
    assert transra(path, "run") == 0 and "partition: up to date" in capsys.readouterr().out
    assert transra(path, "status", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["stages"] == {"partition": {"state": "up to date", "run": run.name}} and found["latest"] is None
    assert transra(path, "partition", "--verify") == 0


@pytest.mark.parametrize("stage", ["train", "evaluate", "export"])
@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_what_needs_a_model_names_the_section(
    path: Path, stage: str, more: tuple, capsys: pytest.CaptureFixture[str]
) -> None:
    assert transra(path, "partition", "--quiet") == 0
    capsys.readouterr()
    assert transra(path, stage, *more) == 2
    assert capsys.readouterr().err == (
        "transra: model: missing, expected a section that says what is trained on the graph, and how\n"
    )
    assert [one.name for one in (path.parent / "runs/alone").glob("2*/*") if one.is_dir()] == ["graph"]


def test_a_ranker_needs_a_model(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = json.loads(path.read_text())
    path.write_text(json.dumps({**raw, "ranker": ranker_config().model_dump(mode="json")}))
    assert transra(path, "config", "check") == 2
    assert "model: missing, expected a section: the ranker reads" in capsys.readouterr().err


def test_a_model_that_is_added_trains_on_the_same_graph(path: Path) -> None:
    assert transra(path, "partition", "--quiet") == 0
    raw = json.loads(path.read_text())
    model = {"operator": "transe", "dimension": 4, "epochs": 1, "workers": 1}
    path.write_text(json.dumps({**raw, "model": model}))
    assert transra(path, "train", "--quiet") == 0
    (run,) = (path.parent / "runs/alone").glob("2*")
    assert (run / "model").is_dir()
