"""A run whose graph is made on Spark: trained, published and read; killed half-way, it leaves nothing behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from artifacts.embeddings import Embeddings
from pipeline.workspace.workspace import Run
from tests.worlds.ledger_world import assert_same_bytes
from tests.worlds.night_world import REPOSITORY, latest_of, transra, workspace_of, write_config, write_day
from tests.worlds.spark_session import spark_of_tests, write_defaults

SPARK = ["--set", "graph.engine=spark"]


@pytest.fixture(scope="module", autouse=True)
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with spark_of_tests(tmp_path_factory.mktemp("spark")):
        yield


def stages_made(capsys: pytest.CaptureFixture[str]) -> dict[str, bool]:
    return {stage: found["made"] for stage, found in json.loads(capsys.readouterr().out)["stages"].items()}


def assert_same_graph(one: Run, other: Run) -> None:
    """Leaves out the record of the run, which has times."""
    for run in (one, other):
        (run.directory("partition") / "stage.json").unlink()
    assert_same_bytes(one.directory("partition"), other.directory("partition"))


def made_by_duckdb(root: Path, to: Path) -> Run:
    """The same graph, in a root of its own."""
    to.mkdir()
    shutil.copytree(root / "log", to / "log")
    write_config(to)
    assert transra(to, "partition") == 0
    return workspace_of(to).runs()[0]


def test_a_graph_made_on_spark_is_trained_and_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "root"
    root.mkdir()
    write_day(root, 1)
    write_config(root)
    assert transra(root, "run", *SPARK, "--json") == 0
    made = stages_made(capsys)
    assert made and all(made.values())
    run = latest_of(root)
    metrics = run.metrics()
    assert {"partition", "train", "evaluate", "export"} <= metrics.keys()
    vectors = Embeddings(run.path / "export/embeddings.h5")
    assert sum(vectors.count(name) for name in vectors.types) == metrics["partition"]["entities"]
    assert vectors.vectors("user").shape[1] == 8
    assert transra(root, "run", "--json") == 0, "the other engine makes no other graph"
    assert not any(stages_made(capsys).values()) and latest_of(root).path == run.path
    assert_same_graph(run, made_by_duckdb(root, tmp_path / "duckdb"))


def wait_for(root: Path, pattern: str, process: "subprocess.Popen[bytes]") -> None:
    while not any((root / "runs/c").glob(f"2*/graph.partial/{pattern}")):
        assert process.poll() is None, "the build ended before it could be killed"
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pattern", "kill"),
    [(".spill/attempts/*", os.kill), ("edges/train/*.h5", os.killpg)],
    ids=["the driver alone", "all of its group"],
)
def test_a_killed_driver_leaves_nothing(tmp_path: Path, pattern: str, kill) -> None:
    root, temporary = tmp_path / "root", tmp_path / "tmp"
    for directory in (root, temporary):
        directory.mkdir()
    write_day(root, 1)
    write_config(root)
    write_defaults(tmp_path)
    command = [sys.executable, "-m", "pipeline.cli", "partition", str(root / "c.json"), "--root", str(root), *SPARK]
    environment = {**os.environ, "SPARK_CONF_DIR": str(tmp_path), "TMPDIR": str(temporary)}
    process = subprocess.Popen(
        [*command, "--set", "graph.spark.master=local[2]"], cwd=REPOSITORY, env=environment, start_new_session=True
    )
    begun: list[psutil.Process] = []
    try:
        wait_for(root, pattern, process)
        begun = psutil.Process(process.pid).children(recursive=True)
        kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        run = workspace_of(root).runs()[0]
        assert not run.directory("partition").exists() and workspace_of(root).latest is None
        _, alive = psutil.wait_procs(begun, timeout=60)
        assert begun and not alive, "Java and the workers end with the driver"
    finally:
        for left in begun:
            if left.is_running():
                left.kill()
    assert list(temporary.iterdir()) == []
    assert transra(root, "partition", *SPARK) == 0
    assert not run.partial("partition").exists() and len(workspace_of(root).runs()) == 1
    assert_same_graph(workspace_of(root).runs()[0], made_by_duckdb(root, tmp_path / "duckdb"))
