"""`make consent-check`: nobody who did not agree, withdrew or asked to be forgotten is in any byte of the workspace.

Marked people of every kind, of answers and of intervals, go through every format and every stage, some of which are
killed; a second night withdraws, and `purge` removes the first. Those who agreed are the control: the search must find
them.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli import main
from tests.worlds.marked_people import FORMATS, MarkedWorld, ids_of, item, person, title, traces

REPOSITORY = Path(__file__).resolve().parents[2]
STAGES = ("partition", "train", "export", "rank")
# Where a command is killed, by stage: what it has written by then stays.
KILLS = {
    "partition": ("partitioning.engines.local_backend", "write_buckets"),
    "train": ("pbg_transra.training.checkpoint_files", "CheckpointFiles.commit_pass"),
    "rank": ("ranker.experiment.ranking", "concluded"),
}


@pytest.fixture(params=[FORMATS[0], *(pytest.param(format, marks=pytest.mark.slow) for format in FORMATS[1:])])
def world(tmp_path: Path, request: pytest.FixtureRequest) -> MarkedWorld:
    world = MarkedWorld(tmp_path, request.param)
    world.write()
    return world


@pytest.fixture(
    params=[
        (FORMATS[0], False),
        pytest.param((FORMATS[0], True), marks=pytest.mark.slow),
        *(pytest.param((format, by), marks=pytest.mark.slow) for format in FORMATS[1:] for by in (False, True)),
    ],
    ids=lambda param: f"{param[0]}-{'intervals' if param[1] else 'answers'}",
)
def either_world(tmp_path: Path, request: pytest.FixtureRequest) -> MarkedWorld:
    world = MarkedWorld(tmp_path, *request.param)
    world.write()
    return world


def transra(world: MarkedWorld, command: str, *more: str) -> int:
    return main([command, str(world.root / "marked.json"), "--root", str(world.root), "--quiet", *more])


def killed(world: MarkedWorld, stage: str, *more: str) -> None:
    """Runs a stage that is killed where KILLS says."""
    module, name = KILLS[stage]
    script = (
        f"import os, signal, sys, {module} as module; from pipeline.cli import main;"
        f"module.{name} = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL); sys.exit(main(sys.argv[1:]))"
    )
    words = [stage, str(world.root / "marked.json"), "--root", str(world.root), "--quiet", *more]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", script, *words], cwd=REPOSITORY, env=environment, check=False)
    assert done.returncode == -signal.SIGKILL


def latest(world: MarkedWorld) -> Path:
    return (world.root / "runs/marked/latest").resolve()


def test_nobody_is_in_any_byte_who_should_not_be(either_world: MarkedWorld) -> None:
    world = either_world
    workspace = world.root / "runs/marked"
    for stage in STAGES:
        if stage in KILLS:
            killed(world, stage)
            assert set(traces(workspace)) <= world.agreed(1), f"after a kill of {stage}"
        assert transra(world, stage) == 0
    found = traces(workspace)
    assert set(found) == world.agreed(1), "no more, and the controls"
    for id in (id for id in world.agreed(1) if id.endswith("person")):
        files = " ".join(found[id])
        assert all(name in files for name in ("graph/entities", "entity_names", "embeddings.h5", "tsv")), files
    for label in (title(kind) for kind in world.kinds if title(kind) in world.agreed(1)):
        files = " ".join(found[label])
        assert "graph/labels" in files and "embeddings.h5" in files, files

    world.write_lists(2)
    assert transra(world, "run") == 0
    assert set(traces(latest(world))) == world.agreed(2), "whoever withdrew has left what is published"
    assert set(traces(workspace)) == world.agreed(1), "and is in the first night's run"
    assert transra(world, "purge", "--dry-run") == 0
    assert set(traces(workspace)) == world.agreed(1)
    assert transra(world, "purge") == 0
    assert set(traces(workspace)) == world.agreed(2)
    assert transra(world, "run") == 0, "what is kept is whole"


def test_with_pseudonyms_no_id_is_in_any_byte(
    world: MarkedWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also not of those who agreed; the impressions still find their vectors, and `neighbors` takes ids as they are."""
    workspace = world.root / "runs/marked"
    pseudonyms = ("--set", "graph.ids={hash: 'hmac-sha256', key_env: 'TRANSRA_TEST_KEY'}")
    assert transra(world, "run", *pseudonyms) == 2
    assert "graph.entities.item.label: with graph.ids" in capsys.readouterr().err
    pseudonyms = (*pseudonyms, "--set", "graph.entities.item={}")
    assert transra(world, "run", *pseudonyms) == 2
    assert "environment variable TRANSRA_TEST_KEY is not set" in capsys.readouterr().err
    monkeypatch.setenv("TRANSRA_TEST_KEY", "a key of enough bytes")
    killed(world, "partition", *pseudonyms)
    assert traces(workspace) == {}
    assert transra(world, "run", *pseudonyms) == 0
    assert traces(workspace) == {}
    metrics = json.loads((latest(world) / "metrics.json").read_text())
    assert metrics["partition"]["forgotten"]["user"] == {"found": 1, "not_found": 0}
    left_out = metrics["rank"]["mended"]["impressions of forgotten ids left out"]
    rates = next(iter(metrics["rank"]["match_rates"].values()))
    assert left_out == 300 and rates["user_id"]["traffic"] > 0.9 and rates["recent"]["traffic"] > 0.9
    assert transra(world, "neighbors", "user", person("no-yes"), "--k", "1", *pseudonyms) == 0
    assert transra(world, "neighbors", "user", person("no"), "--k", "1", *pseudonyms) != 0

    monkeypatch.setenv("TRANSRA_TEST_KEY", "another key of enough bytes")
    assert transra(world, "partition", *pseudonyms) == 0
    newest = max(path for path in workspace.glob("2*"))
    assert set(json.loads((newest / "metrics.json").read_text())["partition"]["known"].values()) == {0}
    assert transra(world, "purge", *pseudonyms) == 2, "what is published has the other key's pseudonyms"


def test_what_is_refused_leaves_no_id_either(world: MarkedWorld) -> None:
    """The log of a run keeps its errors."""
    untimed = ("--set", "graph.consent.time_column=null")
    assert transra(world, "partition", *untimed) == 65
    lists = ("--set", "graph.consent.where=null", "--set", "graph.consent.answer='answer'")
    words = ("--set", "graph.consent.yes=['yes']", "--set", "graph.consent.no=['no']")
    assert transra(world, "partition", *lists, *words) == 65
    for entry in (("user", f" {person('no-yes')}"), ("user", item("no-yes"))):
        world.write_forget([entry])
        assert transra(world, "partition") == 65
    assert traces(world.root / "runs") == {} and list((world.root / "runs").rglob("log.jsonl"))


@pytest.mark.parametrize("intervals", [False, True])
def test_the_search_finds_what_is_planted(tmp_path: Path, intervals: bool) -> None:
    world = MarkedWorld(tmp_path, "parquet", intervals)
    world.write()
    found = traces(tmp_path)
    for kind in world.kinds:
        assert "offsite.parquet" in found[person(kind)] and "offsite.parquet" in found[item(kind)], ids_of(kind)
