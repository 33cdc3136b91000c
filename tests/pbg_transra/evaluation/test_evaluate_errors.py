"""What can be wrong with an evaluation, through the command line: one line and exit code 65 for each."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from artifacts.files.intact import file_digest
from pipeline.cli import main

Config = dict[str, Any]


def run_config(sources: dict[str, str]) -> Config:
    """Whole sources are splits; relation `late` may lack edges in any of them."""
    sides = {"lhs": {"type": "user", "column": "user"}, "rhs": {"type": "pin", "column": "pin"}, "allow_empty": True}
    relations = [
        {"name": name, "source": list(sources), "where": f"action = '{name}'", **sides} for name in ("click", "late")
    ]
    return {
        "graph": {
            "partitions": 2,
            "memory_limit": "1GB",
            "sources": {name: {"path": f"{name}.csv", "split": split} for name, split in sources.items()},
            "entities": {"user": {}, "pin": {}},
            "relations": relations,
        },
        "model": {"anchors": ["click"], "dimension": 4, "epochs": 1, "workers": 1, "batch_size": 50},
    }


def write_events(path: Path, actions: list[str], users: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = [f"u{rng.integers(users)},p{rng.integers(30)},{rng.choice(actions)}" for _ in range(200)]
    path.write_text("\n".join(["user,pin,action", *rows]) + "\n")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two graphs with a model each, `good` and `other`, and `untrained`, whose edges are all held out."""
    root = tmp_path_factory.mktemp("root")
    write_events(root / "past.csv", ["click"], 40, seed=0)
    write_events(root / "present.csv", ["click"], 40, seed=1)
    write_events(root / "future.csv", ["click", "late"], 40, seed=2)
    write_events(root / "crowd.csv", ["click", "late"], 60, seed=3)
    for name, sources in (
        ("good", {"past": "train", "present": "valid", "future": "test"}),
        ("other", {"past": "train", "crowd": "train"}),
        ("untrained", {"past": "test"}),
    ):
        (root / f"{name}.json").write_text(json.dumps(run_config(sources)))
        assert transra(root, "partition", name) == 0
    assert [transra(root, "train", name) for name in ("good", "other")] == [0, 0]
    return root


def transra(root: Path, command: str, name: str, *options: str) -> int:
    return main([command, str(root / f"{name}.json"), "--root", str(root), "--quiet", *options])


def run_of(workspace: Path) -> Path:
    return max(path for path in workspace.iterdir() if path.name[0] == "2")


Refused = Callable[..., None]


@pytest.fixture
def refused(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs a command on a copy of a workspace, after a change to its run, and reads the one line that it must say."""

    def run(
        command: str, name: str, *options: str, says: str, change: Callable[[Path], None] = lambda run: None
    ) -> None:
        workspace = tmp_path / "runs"
        shutil.copytree(root / "runs" / name, workspace, symlinks=True)
        change(run_of(workspace))
        record_outputs(run_of(workspace))
        capsys.readouterr()
        assert transra(root, command, name, "--workspace", str(workspace), *options) == 65
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert error.startswith("transra: ")
        assert says in error
        assert not (run_of(workspace) / "evaluate").exists()

    return run


def record_outputs(run: Path) -> None:
    """Makes what was changed what its record speaks of: a spoilt file would be refused before it is read."""
    for record in run.glob("*/stage.json"):
        raw = json.loads(record.read_text())
        raw["outputs"] = {name: file_digest(record.parent / name) for name in raw["outputs"]}
        record.write_text(json.dumps(raw))


VALID = ("--set", "evaluate.split=valid")


def test_the_good_one_is_good(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "runs" / "good", tmp_path / "runs", symlinks=True)
    assert transra(root, "evaluate", "good", "--workspace", str(tmp_path / "runs"), *VALID) == 0


@pytest.mark.parametrize("options", [[], ["--set", "model.validate_every=1"]])
def test_a_window_with_nothing_new_is_published(
    root: Path, tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The other graph has neither a valid nor a test split; a rule that would hold edges out makes `run` evaluate."""
    split = ["--set", 'graph.split={"random": {"test": 0.5}}', *options]
    workspace = tmp_path / "runs"
    arguments = ["run", str(root / "other.json"), "--root", str(root), "--workspace", str(workspace), *split]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "evaluate: nothing to rank: the test split has no edges" in said
    assert ("train: nothing to validate: the valid split has no edges" in said) == bool(options)
    metrics = json.loads((workspace / "latest/metrics.json").read_text())
    assert metrics["evaluate"]["triples"] == 0 and "mrr" not in metrics["evaluate"]
    assert metrics["train"]["best_epoch"] is None


def test_a_relation_unknown_to_training_is_left_out_and_said(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = tmp_path / "runs"
    shutil.copytree(root / "runs" / "good", workspace, symlinks=True)
    assert main(["evaluate", str(root / "good.json"), "--root", str(root), "--workspace", str(workspace)]) == 0
    metrics = json.loads((run_of(workspace) / "metrics.json").read_text())
    late = metrics["evaluate"]["untrained_relations"]["late"]
    assert late and metrics["evaluate"]["triples"] + late == metrics["partition"]["edges_by_split"]["test"]
    assert f"{late} test edges of 'late' left out, which has no training edges" in capsys.readouterr().out
    assert list(metrics["evaluate"]["relations"]) == ["click"]


def test_a_type_of_one_entity_has_no_auc(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever else could be the head is a known answer, so that no false candidate is left on either side."""
    for name, user in (("past", "ann"), ("future", "bob")):
        (tmp_path / f"{name}.csv").write_text(f"user,country\n{user},here\n")
    sources = {name: {"path": f"{name}.csv", "split": split} for name, split in (("past", "train"), ("future", "test"))}
    sides = {side: {"type": type, "column": type} for side, type in (("lhs", "user"), ("rhs", "country"))}
    relations = [{"name": "in", "source": list(sources), **sides}]
    graph = {"memory_limit": "1GB", "sources": sources, "entities": {"user": {}, "country": {}}, "relations": relations}
    model = {"operator": "transr", "dimension": 4, "epochs": 1, "workers": 1}
    (tmp_path / "c.json").write_text(json.dumps({"graph": graph, "model": model}))
    assert main(["run", str(tmp_path / "c.json"), "--root", str(tmp_path)]) == 0
    assert "AUC n/a" in capsys.readouterr().out
    assert json.loads((tmp_path / "runs/c/latest/metrics.json").read_text())["evaluate"]["auc"] is None


def test_a_checkpoint_of_another_graph(root: Path, refused: Refused) -> None:
    """`other` has more users; the record of the stage stays, as when files are copied by hand."""

    def swap(run: Path) -> None:
        record = (run / "model" / "stage.json").read_text()
        shutil.rmtree(run / "model")
        shutil.copytree(run_of(root / "runs" / "other") / "model", run / "model")
        (run / "model" / "stage.json").write_text(record)

    refused("evaluate", "good", *VALID, says="checkpoint of another graph or dimension: type 'user'", change=swap)


def test_an_export_of_a_checkpoint_of_another_graph(root: Path, refused: Refused) -> None:
    def swap(run: Path) -> None:
        for path in run.glob("model/embeddings_user_*.h5"):
            shutil.copy(run_of(root / "runs" / "other") / "model" / path.name, path)

    refused("export", "good", says="checkpoint of another graph or dimension: type 'user'", change=swap)


def test_a_checkpoint_with_other_relations(refused: Refused) -> None:
    def rename(run: Path) -> None:
        path = run / "model" / "config.json"
        path.write_text(path.read_text().replace('"name": "late"', '"name": "early"'))

    says = "checkpoint of another graph: relation 1 is 'early' (user -> pin), expected 'late' (user -> pin)"
    refused("evaluate", "good", *VALID, says=says, change=rename)


def test_an_export_of_another_graph(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neighbours are not looked up in vectors that are not the published graph's."""
    runs = {}
    for name in ("good", "other"):
        workspace = tmp_path / name
        shutil.copytree(root / "runs" / name, workspace, symlinks=True)
        assert transra(root, "export", name, "--workspace", str(workspace)) == 0
        runs[name] = run_of(workspace) / "export" / "embeddings.h5"
    runs["good"].unlink()
    shutil.copy(runs["other"], runs["good"])
    record_outputs(runs["good"].parents[1])
    where = ["--root", str(root), "--workspace", str(tmp_path / "good")]
    assert main(["neighbors", str(root / "good.json"), "user", "u1", *where]) == 65
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(r"export of another graph: 'user': found \d+, expected \d+", error)


def nan(run: Path) -> None:
    path = next(run.glob("model/embeddings_pin_1.v*.h5"))
    with h5py.File(path, "r+") as file:
        file["embeddings"][2, 1] = np.nan


@pytest.mark.parametrize(("command", "options"), [("evaluate", VALID), ("export", ())])
def test_a_nan_in_the_table(refused: Refused, command: str, options: tuple[str, ...]) -> None:
    refused(command, "good", *options, says="(partition 1, offset 2): its vector holds a NaN", change=nan)


def test_a_nan_in_an_operator(refused: Refused) -> None:
    def change(run: Path) -> None:
        with h5py.File(next(run.glob("model/model.v*.h5")), "r+") as file:
            file["model/relations/0/operator/rhs/translation"][0] = np.nan

    refused("evaluate", "good", *VALID, says="relation 0: its translation holds a NaN", change=change)


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_no_entity_with_an_edge(root: Path, refused: Refused, command: str) -> None:
    """Training refuses such a graph; evaluation, should it be given a model, too."""
    if command == "train":
        refused("train", "untrained", says="the graph has no training edge")
        return

    def empty(run: Path) -> None:
        graph = json.loads((run / "graph" / "graph.json").read_text())
        for relation in graph["relations"]:
            relation["edges"]["train"] = 0
        (run / "graph" / "graph.json").unlink()
        (run / "graph" / "graph.json").write_text(json.dumps(graph))

    refused("evaluate", "good", *VALID, says="no entity has a training edge", change=empty)
