"""Files of a run that are no longer what was published: exit code 65, the file and the way out, and nothing is made."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.workspace.workspace import Workspace
from tests.worlds.ledger_world import rows_of, weighted_config, write_day, write_tables

MODEL = {"dimension": 8, "epochs": 1, "workers": 1, "operator": "transr"}


@dataclass(frozen=True)
class World:
    """A root, and a workspace of it that may be spoilt."""

    root: Path
    workspace: Path

    def transra(self, command: str, *more: str) -> int:
        options = ["--root", str(self.root), "--workspace", str(self.workspace)]
        return main([command, str(self.root / "c.json"), *more, *options])

    @property
    def run(self) -> Path:
        latest = Workspace(self.workspace).latest
        assert latest is not None
        return latest.path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> World:
    """One published night."""
    root = tmp_path_factory.mktemp("spoilt")
    write_tables(root)
    for day in (8, 9):
        write_day(root, f"day-{day}", rows_of(day))
    (root / "c.json").write_text(json.dumps({"graph": weighted_config(), "model": MODEL}))
    world = World(root, root / "whole")
    for command in ("partition", "train", "export"):
        assert world.transra(command) == 0
    return world


@pytest.fixture
def world(whole: World, tmp_path: Path) -> World:
    return World(whole.root, Path(shutil.copytree(whole.workspace, tmp_path / "copy", symlinks=True)))


@pytest.fixture
def tomorrow(world: World) -> Iterator[World]:
    """The same, when the next day's log is there."""
    write_day(world.root, "day-10", rows_of(10))
    yield world
    (world.root / "log/day-10.parquet").unlink()


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


HARM: dict[str, Callable[[Path], None]] = {"flip": flip, "cut": cut, "lost": Path.unlink, "fifo": fifo}
LEDGER = ["degrees_user_0.npy", "ends_lhs_0.npy", "units_0_1.npy", "held_valid_0_0.npy", "ledger.json"]


def refused(world: World, capsys: pytest.CaptureFixture[str], command: str, path: Path) -> None:
    """The command says which file it is, in one line, and leaves no run and no stage behind."""
    before = {each.relative_to(world.workspace) for each in world.workspace.rglob("*")}
    capsys.readouterr()
    assert world.transra(command) == 65
    said = capsys.readouterr().err
    assert said.startswith(f"transra: {path}: ") and said.count("\n") == 1 and "put it back, or " in said
    left = {each.relative_to(world.workspace) for each in world.workspace.rglob("*")} - before
    assert {each.name for each in left if each.name[:2] != "20"} <= {"log.jsonl", ".lock"}


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("name", [f"ledger/{name}" for name in LEDGER] + ["entities/pin/part-0.parquet", "graph.json"])
def test_the_next_night_does_not_count_on_what_is_spoilt(
    tomorrow: World, capsys: pytest.CaptureFixture[str], name: str, harm: str
) -> None:
    path = tomorrow.run / "graph" / name
    HARM[harm](path)
    refused(tomorrow, capsys, "partition", path)


def test_settled_edges_are_compared_and_rebuild_is_the_way_out(
    tomorrow: World, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tomorrow.run / "graph/edges/train/edges_1_0.h5"
    flip(path)
    refused(tomorrow, capsys, "partition", path)
    assert tomorrow.transra("partition", "--rebuild") == 0


def test_files_that_a_stage_does_not_read_do_not_stop_it(tomorrow: World) -> None:
    flip(tomorrow.run / "graph/edges/test/edges_0_0.h5")
    assert tomorrow.transra("partition") == 0


@pytest.mark.parametrize("harm", ["flip", "lost"])
@pytest.mark.parametrize(
    ("command", "gone", "name"),
    [
        ("train", ["model", "export"], "graph/edges/train/edges_0_0.h5"),
        ("train", ["model", "export"], "graph/graph.json"),
        ("export", ["export"], "model/embeddings_user_1.v1.h5"),
        ("export", ["export"], "model/model.v1.h5"),
        ("export", ["export"], "graph/entities/user/part-1.parquet"),
        ("evaluate", [], "graph/edges/test/edges_0_0.h5"),
        ("evaluate", [], "model/embeddings_pin_0.v1.h5"),
    ],
)
def test_no_stage_is_made_from_what_is_spoilt(
    world: World, capsys: pytest.CaptureFixture[str], command: str, gone: list[str], name: str, harm: str
) -> None:
    run = world.run
    for stage in gone:
        shutil.rmtree(run / stage)
    HARM[harm](run / name)
    refused(world, capsys, command, run / name)


@pytest.mark.parametrize("name", ["export/embeddings.h5", "graph/graph.json"])
def test_neighbors_are_not_asked_of_what_is_spoilt(world: World, capsys: pytest.CaptureFixture[str], name: str) -> None:
    flip(world.run / name)
    assert world.transra("neighbors", "user", "1") == 65
    assert capsys.readouterr().err.startswith(f"transra: {world.run / name}: its content is not what was")


def test_the_way_out_leads_out(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """A spoilt model is removed and trained again, and the export is what it was."""
    run = world.run
    before = (run / "export/embeddings.h5").stat().st_size
    shutil.rmtree(run / "export")
    flip(run / "model/embeddings_user_1.v1.h5")
    assert world.transra("export") == 65
    assert f"remove {run / 'model'} and run `transra train " in capsys.readouterr().err
    shutil.rmtree(run / "model")
    assert (world.transra("train"), world.transra("export")) == (0, 0)
    assert (world.run / "export/embeddings.h5").stat().st_size == before


SHAPES = [
    "",
    "{",
    "[]",
    "5",
    '"x"',
    "{}",
    "null",
    "\x00",
    "[" * 100_000,
    '{"parts": ' * 5000,
    b"\xff\xfe".decode("latin1"),
]


@pytest.mark.parametrize("text", SHAPES, ids=range(len(SHAPES)))
def test_a_record_of_another_shape_is_bad_data(world: World, capsys: pytest.CaptureFixture[str], text: str) -> None:
    path = world.run / "graph/stage.json"
    path.write_text(text)
    for command in ("partition", "run", "status"):
        capsys.readouterr()
        assert world.transra(command) == 65
        said = capsys.readouterr().err
        assert said.startswith(f"transra: {path}: expected a stage's record (") and said.count("\n") == 1


@pytest.mark.parametrize("name", ["parts", "fingerprint", "metrics", "outputs", "run"])
def test_a_record_without_one_of_its_parts_is_bad_data(world: World, name: str) -> None:
    path = world.run / "model/stage.json"
    record = json.loads(path.read_text())
    for value in (None, 5, ["x"]):
        path.write_text(json.dumps({**record, name: value}))
        assert world.transra("run") == 65
    del record[name]
    path.write_text(json.dumps(record))
    assert world.transra("run") == 65
