"""`make consent-check`: nobody who did not agree, withdrew or asked to be forgotten is in any byte of the workspace.

Marked people of every kind go through every format and every stage, some of which are killed; a second night withdraws,
and `purge` removes the first. Those who agreed are the control: the search must find them.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli import main
from tests.worlds.marked_people import AGREED, ANSWERS, FORMATS, MarkedWorld, ids_of, item, person, traces

REPOSITORY = Path(__file__).resolve().parents[2]
STAGES = ("partition", "train", "export", "rank")
# Where a command is killed, by stage: what it has written by then stays.
KILLS = {
    "partition": ("partitioning.build", "write_buckets"),
    "rank": ("ranker.experiment.ranking", "concluded"),
}


@pytest.fixture(params=[FORMATS[0], *(pytest.param(format, marks=pytest.mark.slow) for format in FORMATS[1:])])
def world(tmp_path: Path, request: pytest.FixtureRequest) -> MarkedWorld:
    world = MarkedWorld(tmp_path, request.param)
    world.write()
    return world


def transra(world: MarkedWorld, command: str, *more: str) -> int:
    return main([command, str(world.root / "marked.json"), "--root", str(world.root), "--quiet", *more])


def killed(world: MarkedWorld, stage: str) -> None:
    """Runs a stage that is killed where KILLS says."""
    module, name = KILLS[stage]
    script = (
        f"import os, signal, sys, {module} as module; from pipeline.cli import main;"
        f"module.{name} = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL); sys.exit(main(sys.argv[1:]))"
    )
    words = [stage, str(world.root / "marked.json"), "--root", str(world.root), "--quiet"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", script, *words], cwd=REPOSITORY, env=environment, check=False)
    assert done.returncode == -signal.SIGKILL


def agreed(night: int) -> set[str]:
    return {id for kind in AGREED[night] for id in (person(kind), item(kind))}


def latest(world: MarkedWorld) -> Path:
    return (world.root / "runs/marked/latest").resolve()


def test_nobody_is_in_any_byte_who_should_not_be(world: MarkedWorld) -> None:
    workspace = world.root / "runs/marked"
    for stage in STAGES:
        if stage in KILLS:
            killed(world, stage)
            assert set(traces(workspace)) <= agreed(1), f"after a kill of {stage}"
        assert transra(world, stage) == 0
    found = traces(workspace)
    assert set(found) == agreed(1), "no more, and the controls"
    for kind in AGREED[1]:
        files = " ".join(found[person(kind)])
        assert all(name in files for name in ("graph/entities", "entity_names", "embeddings.h5", "tsv")), files

    world.write_lists(2)
    assert transra(world, "run") == 0
    assert set(traces(latest(world))) == agreed(2), "whoever withdrew has left what is published"
    assert set(traces(workspace)) == agreed(1), "and is in the first night's run"
    assert transra(world, "purge", "--dry-run") == 0
    assert set(traces(workspace)) == agreed(1)
    assert transra(world, "purge") == 0
    assert set(traces(workspace)) == agreed(2)
    assert transra(world, "run") == 0, "what is kept is whole"


def test_the_search_finds_what_is_planted(tmp_path: Path) -> None:
    world = MarkedWorld(tmp_path, "parquet")
    world.write()
    found = traces(tmp_path)
    for kind in ANSWERS:
        assert "offsite.parquet" in found[person(kind)] and "offsite.parquet" in found[item(kind)], ids_of(kind)
