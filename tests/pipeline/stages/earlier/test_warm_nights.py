"""`model.warm_start` from night to night: what a training begins from, what is up to date, what is refused."""

import json
import shlex
import signal
from pathlib import Path

import pytest

from pipeline.cli import main
from tests.worlds.night_world import killed_in_training, latest_of, transra, workspace_of, write_config, write_day

WARM = {"warm_start": "latest"}


def vectors_of(root: Path) -> dict[str, str]:
    record = latest_of(root).record("train")
    assert record is not None
    return {name: digest for name, digest in record["outputs"].items() if name.startswith("embeddings_")}


@pytest.fixture
def root(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """One night is published, and the log of the second is there."""
    write_day(tmp_path, 1)
    write_config(tmp_path, WARM | {"epochs": 2})
    assert transra(tmp_path, "run", "--until", "export") == 0
    assert "train: begins cold: no run was published before" in capsys.readouterr().out
    write_day(tmp_path, 2)
    return tmp_path


def test_a_night_begins_from_the_one_before_and_again_is_up_to_date(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = latest_of(root)
    for stage in ("partition", "train", "export"):
        assert transra(root, stage) == 0
    second, out = latest_of(root), capsys.readouterr().out
    assert f"train: begins from run {first.id}: " in out and " entities known, " in out
    assert second.id != first.id
    for command in (("run", "--until", "export"), ("train",), ("export",)):
        assert transra(root, *command) == 0
        assert "train: begins" not in capsys.readouterr().out
    assert workspace_of(root).runs() == [second, first]


def test_other_settings_of_the_same_night_begin_from_the_same_run(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not from what the night itself has published, however often it is tried again."""
    first = latest_of(root)
    assert transra(root, "run", "--until", "export") == 0
    again = ["--set", "model.lr=0.2"]
    assert transra(root, "run", "--until", "export", *again) == 0
    assert capsys.readouterr().out.count(f"begins from run {first.id}") == 2
    assert transra(root, "purge", *again) == 0
    assert transra(root, "train", *again) == 0, "purged, the run that it began from is not needed"
    assert transra(root, "train") == 2
    assert f"run {first.id}, which this night's training began from, is gone" in capsys.readouterr().err


def test_a_killed_warm_night_ends_with_the_same_bytes(root: Path) -> None:
    assert transra(root, "partition") == 0
    assert killed_in_training(root, "train") == -signal.SIGKILL
    (partial,) = workspace_of(root).runs()[0].path.glob("model.partial")
    assert (partial / "checkpoint_version.txt").read_text() == "1\n"
    assert transra(root, "run", "--until", "export") == 0
    cut, run = vectors_of(root), latest_of(root)
    workspace_of(root).publish(workspace_of(root).runs()[1])
    for stage in ("model", "export"):
        (run.path / stage).rename(root / stage)
    assert transra(root, "run", "--until", "export") == 0
    assert vectors_of(root) == cut


@pytest.mark.parametrize("of", ["config", "code"])
def test_what_a_killed_night_left_names_the_command_that_throws_it_away(
    root: Path, of: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`run`, which says so, has no --restart; the version of the code is nothing that a config sets back."""
    assert transra(root, "partition") == 0
    assert killed_in_training(root, "train") == -signal.SIGKILL
    (path,) = workspace_of(root).runs()[0].path.glob("model.partial/identity.json")
    changes = ["--set", "model.scale=9"] if of == "config" else []
    if of == "code":
        path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 1}))
    assert transra(root, "run", *changes) == 2
    err = capsys.readouterr().err
    assert "set them back" in err if of == "config" else "go on with the version of transra that began it" in err
    command = shlex.split(err.split("`")[1])
    assert command[:2] == ["transra", "train"] and main(command[1:]) == 0
    assert transra(root, "run", *changes) == 0


def test_ids_to_forget_are_not_missed_in_files_that_were_counted_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A night that reads new files alone cannot tell whether the ids that it leaves out are in older ones."""
    write_config(tmp_path)
    config = json.loads((tmp_path / "c.json").read_text())
    config["graph"]["sources"] = {"log": {"path": "log/*.parquet", "append_only": True}, "gone": {"path": "gone.csv"}}
    config["graph"]["forget"] = {"source": "gone"}
    (tmp_path / "c.json").write_text(json.dumps(config))
    (tmp_path / "gone.csv").write_text("type,id\nuser,u1\nuser,nobody\n")
    write_day(tmp_path, 1)
    assert transra(tmp_path, "run", "--until", "export") == 0
    whole = "forgot 1 of 2 listed ids (user 1 of 2); not found: 1"
    assert f"partition: {whole}\n" in capsys.readouterr().out
    write_day(tmp_path, 2, 1)
    assert transra(tmp_path, "partition") == 0
    out = capsys.readouterr().out
    assert "not found: 2 (in the files that were read: the others were counted without the listed ids)\n" in out
    assert "(1 files were counted before)" in out


def test_another_dimension_is_refused_and_can_begin_cold(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wider = ["--set", "model.dimension=16"]
    assert transra(root, "partition", *wider) == 0
    assert transra(root, "train", *wider) == 2
    assert "dimension 8, now 16" in capsys.readouterr().err
    assert transra(root, "train", *wider, "--set", "model.warm_start=null") == 0
    assert transra(root, "export", *wider, "--set", "model.warm_start=null") == 0
    assert transra(root, "run", "--until", "export", *wider) == 0, "cron runs the same night again"
    assert "begins cold: the published run of this graph did, too" in capsys.readouterr().out
    write_day(root, 3)
    assert transra(root, "run", "--until", "export", *wider) == 0, "from then on warm"
    record = latest_of(root).record("train")
    assert record is not None and record["parts"]["begun_from"] == workspace_of(root).runs()[1].id


def test_the_log_says_what_was_begun_with(root: Path) -> None:
    assert transra(root, "run", "--until", "export") == 0
    events = [json.loads(line) for line in (latest_of(root).path / "log.jsonl").read_text().splitlines()]
    (warm,) = [event for event in events if event["message"] == "warm start"]
    assert warm["known"] > 0 and warm["placed"] > 0


@pytest.mark.parametrize(
    ("freeze", "said"),
    [
        ({"types": ["pins"]}, "model.freeze.types[0]: 'pins' is not an entity type of the graph, did you mean 'pin'?"),
        (
            {"types": ["pin"], "relations": ["clack"]},
            "model.freeze.relations[0]: 'clack' is not a relation",
        ),
    ],
)
def test_unknown_names_to_freeze_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], freeze: dict[str, list[str]], said: str
) -> None:
    write_day(tmp_path, 1)
    write_config(tmp_path, WARM | {"freeze": freeze})
    assert transra(tmp_path, "run") == 2
    assert said in capsys.readouterr().err
