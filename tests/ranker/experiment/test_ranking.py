"""`transra rank` on a tiny world: leaks, the choice of arms, and exports: of several runs, of others than the run's."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.cli import main
from pipeline.stages.export import Export
from ranker.config.arms import ARMS
from tests.worlds.small_impressions import DAY, DIMENSION, PINS, START, USERS, config, small_world, write_export

REPOSITORY = Path(__file__).resolve().parents[3]
PATH = ("partition", "train", "export")
TRANSR = ("--set", "model.operator=transr", "--set", "model.anchors=[]")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Impressions, a month of clicks before them, and a published run."""
    root = tmp_path_factory.mktemp("root")
    small_world(root, rows=3000)
    rng, rows = np.random.default_rng(0), 4000
    users, pins, days = (rng.integers(0, count, rows) for count in (USERS, PINS, 30))
    write_clicks(root / "events" / "past.parquet", users, pins, START - 1 - days * DAY)
    side = {name: {"type": name, "column": name} for name in ("user", "pin")}
    run = {
        "graph": {
            "partitions": 1,
            "sources": {"events": {"path": "events/*.parquet", "time_column": "ts", "time_unit": "s"}},
            "entities": {"user": {}, "pin": {}},
            "relations": [{"name": "click", "source": "events", "lhs": side["user"], "rhs": side["pin"]}],
        },
        "model": {"operator": "transra", "anchors": ["click"], "dimension": 8, "epochs": 1, "workers": 1},
        "ranker": config(
            arms={name: ARMS[name] for name in ("none", "frozen_concat", "attention")},
            training={"batch_size": 512},
        ).model_dump(mode="json"),
    }
    (root / "small.json").write_text(json.dumps(run))
    for stage in PATH:
        assert transra(root, "base", stage) == 0
    return root


def write_clicks(path: Path, users: np.ndarray, pins: np.ndarray, ts: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    columns = {"user": [f"u{user}" for user in users], "pin": [f"p{pin}" for pin in pins], "ts": ts}
    pq.write_table(pa.table(columns), path)


def transra(root: Path, workspace: str | Path, command: str, *more: str) -> int:
    """In a workspace of the root's, by name, or in one elsewhere."""
    place = ["--root", str(root), "--workspace", str(root / "runs" / workspace), "--json"]
    return main([command, str(root / "small.json"), *place, *more])


def copied(root: Path, tmp_path: Path) -> Path:
    """A workspace with the published run, for a test that adds to it."""
    return Path(shutil.copytree(root / "runs" / "base", tmp_path / "base", symlinks=True))


def answer(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def test_one_leaking_edge_is_refused(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A graph of past clicks is read; with a single click of the first training day among them it is refused."""
    assert transra(root, copied(root, tmp_path), "rank", "--arms", "none") == 0
    write_clicks(root / "leak" / "leak.parquet", np.array([3]), np.array([7]), np.array([START + DAY // 2]))
    leaking = ("--set", "graph.sources.events.path=['events', 'leak']")
    for stage in PATH:
        assert transra(root, tmp_path / "leaking", stage, *leaking) == 0
    assert transra(root, tmp_path / "leaking", "rank", *leaking) == 2
    (line,) = answer(capsys)["errors"]
    assert "was trained on events until 2026-01-01T12:00:00Z" in line and "it has seen the labels" in line
    assert not (tmp_path / "leaking" / "latest" / "ranker").exists()


def test_a_graph_that_has_seen_the_labels_is_told_of_before_it_is_trained_on(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Vectors have other uses: they are trained and published, and `rank` refuses them."""
    write_clicks(root / "early" / "leak.parquet", np.array([3]), np.array([7]), np.array([START + DAY // 2]))
    place = ["--root", str(root), "--workspace", str(tmp_path / "leaking")]
    leaking = ["--set", "graph.sources.events.path=['events', 'early']"]
    capsys.readouterr()
    assert main(["run", str(root / "small.json"), *place, *leaking]) == 2
    told = capsys.readouterr().out.splitlines()
    (line,) = (number for number, one in enumerate(told) if one.startswith("rank: warning: will refuse after training"))
    assert "was trained on events until 2026-01-01T12:00:00Z" in told[line] and "seen the labels" in told[line]
    assert line < min(number for number, one in enumerate(told) if one.startswith("train:"))
    assert (tmp_path / "leaking" / "latest" / "export").exists()
    assert main(["run", str(root / "small.json"), *place]) == 0
    assert "will refuse" not in capsys.readouterr().out


def test_arms_are_chosen_and_finished_ones_are_kept(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = copied(root, tmp_path)
    assert transra(root, workspace, "rank", "--arms", "none,attenton") == 2
    assert answer(capsys)["errors"] == ["--arms: 'attenton' is not an arm, did you mean 'attention'?"]
    assert transra(root, workspace, "rank", "--arms", "attention,none") == 0
    first = answer(capsys)["stages"]["rank"]["metrics"]
    assert list(first["arms"]) == ["none", "attention"]
    assert transra(root, workspace, "rank", "--arms", "none,attention") == 0
    assert not answer(capsys)["stages"]["rank"]["made"], "the same arms: up to date"
    assert transra(root, workspace, "rank", "--arms", "all") == 0
    every = answer(capsys)["stages"]["rank"]["metrics"]
    assert list(every["arms"]) == ["none", "frozen_concat", "attention"]
    for arm in first["arms"]:
        assert every["arms"][arm] == first["arms"][arm], "seconds too: it was not trained again"
    assert transra(root, workspace, "rank") == 0
    assert not answer(capsys)["stages"]["rank"]["made"], "all arms are what no --arms means"


def test_vectors_written_anew_train_nothing_again(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another version of the export makes another run; what its vectors hold is what it was, and `none` reads none."""
    workspace = copied(root, tmp_path)
    assert transra(root, workspace, "rank", "--arms", "none,attention") == 0
    first = answer(capsys)["stages"]["rank"]["metrics"]["arms"]
    monkeypatch.setattr(Export, "version", Export.version + 1)
    assert transra(root, workspace, "status") == 0
    (why,) = answer(capsys)["stages"]["rank"]["why"]
    assert why == f"export: version changed from {Export.version - 1} to {Export.version}", "and not the ranking's own"
    assert transra(root, workspace, "export") == transra(root, workspace, "rank", "--arms", "none,attention") == 0
    made = answer(capsys)["stages"]["rank"]
    assert made["made"] and made["metrics"]["arms"] == first, "seconds too"
    assert len(list(workspace.glob("*/ranker"))) == 2 + 1, "of two runs, and by way of latest"
    for other, arms in (("model.seed=1", {"attention"}), ("model.epochs=2", {"attention"})):
        for stage in ("train", "export", "rank"):
            assert transra(root, workspace, stage, "--set", other, "--set", "ranker.compare=['none','attention']") == 0
        again = answer(capsys)["stages"]["rank"]["metrics"]["arms"]
        assert {arm for arm in again if again[arm]["seconds"] != first[arm]["seconds"]} == arms


def test_an_earlier_training_that_is_damaged_is_trained_again(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = copied(root, tmp_path)
    assert transra(root, workspace, "rank", "--arms", "none") == 0
    first = answer(capsys)["stages"]["rank"]["metrics"]["arms"]["none"]
    (logits,) = workspace.glob("2*/ranker/arms/none/*/seed-0/test_logits.npz")
    content = bytearray(logits.read_bytes())
    content[len(content) // 2] ^= 1
    logits.write_bytes(content)
    monkeypatch.setattr(Export, "version", Export.version + 1)
    assert transra(root, workspace, "export") == transra(root, workspace, "rank", "--arms", "none") == 0
    again = answer(capsys)["stages"]["rank"]["metrics"]["arms"]["none"]
    assert again["seconds"] != first["seconds"] and again["ctr"] == first["ctr"]


def test_a_config_says_which_arms_are_compared(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace, only = copied(root, tmp_path), ("--set", "ranker.compare=['none']")
    assert transra(root, workspace, "rank", *only) == 0
    assert list(answer(capsys)["stages"]["rank"]["metrics"]["arms"]) == ["none"]
    assert transra(root, workspace, "rank", "--arms", "none") == 0
    assert not answer(capsys)["stages"]["rank"]["made"], "the same arms by another way: up to date"
    assert transra(root, workspace, "rank", "--set", "ranker.compare=['non']") == 2
    assert "ranker.compare: 'non' is not an arm, did you mean 'none'?" in answer(capsys)["errors"][0]


def test_run_until_a_stage(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = copied(root, tmp_path)
    assert transra(root, workspace, "run", "--until", "export") == 0
    assert "rank" not in answer(capsys)["stages"] and not (workspace / "latest" / "ranker").exists()
    plain = {key: value for key, value in json.loads((root / "small.json").read_text()).items() if key != "ranker"}
    (root / "plain.json").write_text(json.dumps(plain))
    place = ["--root", str(root), "--workspace", str(tmp_path / "other"), "--json"]
    assert main(["run", str(root / "plain.json"), *place, "--until", "rank"]) == 2
    assert answer(capsys)["errors"] == [
        "--until rank: the config has no section for it, expected one of partition, train, export"
    ]


def test_without_a_terminal_arms_and_validations_are_lines(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = copied(root, tmp_path)
    command = ["rank", str(root / "small.json"), "--root", str(root), "--workspace", str(workspace)]
    for _ in range(2):
        assert main([*command, "--arms", "none,attention"]) == 0
    assert main([*command, "--quiet", "--arms", "none", "--set", "ranker.training.lr=0.01"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said.count("rank: none seed 0: trains") == 1 == said.count("rank: attention seed 0: trains")
    validations = [line for line in said if ", valid ctr auc 0." in line]
    events = [json.loads(line) for line in (workspace / "latest" / "log.jsonl").read_text().splitlines()]
    logged = [one for one in events if one["message"] == "validation" and one["arm"] == "attention"]
    assert [one["step"] for one in logged] == sorted({one["step"] for one in logged}) and len(logged) >= 4
    told = [line for line in validations if line.startswith("rank: attention seed 0: step ")]
    assert [
        f"valid ctr auc {one['metrics']['ctr']['auc']:.4f} " in line for one, line in zip(logged, told, strict=True)
    ]
    finished = [(one["arm"], one["reused"]) for one in events if one["message"] == "trial finished"]
    assert finished == [("none", False), ("attention", False), ("none", False)], "the second call was up to date"
    assert [one["reused"] for one in events if one["message"] == "impressions prepared"] == [False, True]


def test_an_interrupted_ranking_is_130_and_no_error(root: Path, tmp_path: Path) -> None:
    workspace = copied(root, tmp_path)
    place = ["--root", str(root), "--workspace", str(workspace), "--arms", "none"]
    longer = ["--set", "ranker.training={epochs: 100000, patience: 100000, eval_every: 2}"]
    command = [sys.executable, "-m", "pipeline.cli", "rank", str(root / "small.json"), *place, *longer]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by what a shell starts with `&`
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    for line in process.stdout:
        if "step" in line:
            break
    process.send_signal(signal.SIGINT)
    said = process.stderr.read()
    assert process.wait(timeout=60) == 130
    assert said == "transra: interrupted; the same command goes on\n"
    events = [json.loads(line) for line in (workspace / "latest" / "log.jsonl").read_text().splitlines()]
    assert events[-1]["message"] == "stage interrupted" and events[-1]["stage"] == "rank"
    assert not [one for one in events if one["level"] == "error" or "traceback" in one]


def test_exports_of_two_runs_are_compared(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for stage in PATH:
        assert transra(root, "transr", stage, *TRANSR) == 0
    runs = ("--set", "ranker.vectors=['runs/base/latest', 'runs/transr/latest']")
    assert transra(root, copied(root, tmp_path), "rank", *runs) == 0
    found = answer(capsys)["stages"]["rank"]["metrics"]
    arms = ["frozen_concat", "frozen_concat@runs/transr/latest", "attention", "attention@runs/transr/latest"]
    assert list(found["arms"]) == ["none", *arms], "an arm without vectors runs once"
    assert found["arms"]["attention"]["ctr"]["auc"] != found["arms"]["attention@runs/transr/latest"]["ctr"]["auc"]
    operators = {name: export["operator"] for name, export in found["exports"].items()}
    assert operators == {"runs/base/latest": "transra", "runs/transr/latest": "transr"}
    pairs = {(one["arm"], one["baseline"]) for one in found["comparisons"]["ctr"]}
    assert ("attention@runs/transr/latest", "attention") in pairs


def test_a_leak_in_any_compared_run_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    late = ("--set", "graph.sources.events.path=['events', 'late']")
    write_clicks(root / "late" / "leak.parquet", np.array([3]), np.array([7]), np.array([START + 9 * DAY]))
    for stage in PATH:
        assert transra(root, "late", stage, *late) == 0
    runs = ("--set", "ranker.vectors=['runs/base/latest', 'runs/late/latest']")
    assert transra(root, "base", "rank", *runs) == 2
    (line,) = answer(capsys)["errors"]
    assert "the graph of runs/late/latest was trained on events until 2026-01-10" in line


def test_a_run_without_an_export_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert transra(root, "base", "rank", "--set", "ranker.vectors=['runs/base/latest', 'runs/nowhere/latest']") == 2
    (line,) = answer(capsys)["errors"]
    assert line.startswith("ranker.vectors[1]: ") and "no run with an export, expected for example" in line


def record_export(workspace: Path) -> None:
    """Makes a changed export the one that its record speaks of: what is refused then is what it says."""
    export = workspace / "latest/export"
    record = json.loads((export / "stage.json").read_text())
    record["outputs"]["embeddings.h5"] = hashlib.sha256((export / "embeddings.h5").read_bytes()).hexdigest()
    (export / "stage.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("run_id", "20990101-other", "run is '20990101-other', expected '2"),
        ("anchors", '["save"]', "anchors is ['save'], expected ['click']"),
    ],
)
def test_an_export_that_is_not_the_runs_is_refused(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], attribute: str, value: str, message: str
) -> None:
    workspace = copied(root, tmp_path)
    with h5py.File(workspace / "latest/export/embeddings.h5", "r+") as file:
        file.attrs[attribute] = value
    record_export(workspace)
    assert transra(root, workspace, "rank") == 65
    (line,) = answer(capsys)["errors"]
    assert message in line


def test_an_export_of_another_graph_is_refused(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = copied(root, tmp_path)
    export = workspace / "latest/export/embeddings.h5"
    export.unlink()
    write_export(export, {"user": np.ones((USERS, DIMENSION)), "pin": np.ones((PINS - 1, DIMENSION))})
    record_export(workspace)
    assert transra(root, workspace, "rank") == 65
    (line,) = answer(capsys)["errors"]
    assert "export of another graph: 'pin': found 59, expected 60" in line


def test_a_column_that_the_log_lacks_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert transra(root, "base", "rank", "--set", "ranker.labels.click=clicked") == 2
    (line,) = answer(capsys)["errors"]
    assert line.startswith("ranker.labels.click: no column 'clicked' in ") and line.endswith("did you mean 'click'?")
