"""`python -m ranker`, alone and as two processes under torchrun: the same training, the same weights."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ranker.__main__ import main
from ranker.config.arms import ARMS
from tests.worlds.processes import in_processes
from tests.worlds.small_impressions import SmallWorld, config, world_with_run

REPOSITORY = Path(__file__).resolve().parents[3]
SEED = 3  # with others a gradient of one weight is rounding alone, which a step of Adam makes as large as any
LEARNING = ("init_finetune", "attention")  # both kinds of tables with sparse gradients, and the dense rest


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> SmallWorld:
    return world_with_run(tmp_path_factory.mktemp("processes"))


def arguments(world: SmallWorld, out: Path, **changes: Any) -> list[str]:
    settings = config(arms={name: ARMS[name] for name in LEARNING}, **changes)
    path = out.with_suffix(".json")
    path.write_text(json.dumps({"ranker": settings.model_dump(mode="json")}))
    return [str(path), "--vectors", "run", "--out", str(out), "--root", str(world.root)]


def training(batch_size: int) -> dict[str, Any]:
    """No dropout, since each process draws its own; the last batch of the epoch is ragged."""
    return {"batch_size": batch_size, "seeds": [SEED], "lr": 0.005, "eval_every": 5, "keep_negatives": 0.7}


@pytest.fixture(scope="module")
def alone(world: SmallWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes."""
    out = tmp_path_factory.mktemp("alone") / "one"
    assert main(arguments(world, out, training=training(252))) == 0
    return out


def test_two_processes_equal_one_with_twice_the_batch(world: SmallWorld, alone: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "ranker"]
    done = subprocess.run(
        [*command, *arguments(world, tmp_path / "many", training=training(126))],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("match rate") == 1, "only one process says what came out"
    assert_same_ranking(alone, tmp_path / "many")


def test_three_processes_equal_one_with_three_times_the_batch(world: SmallWorld, alone: Path, tmp_path: Path) -> None:
    """Their blocks of a table are not all as long."""
    of_many = arguments(world, tmp_path / "many", training=training(84))
    assert in_processes(3, tmp_path / "meeting", lambda: main(of_many)) == [0, 0, 0]
    assert_same_ranking(alone, tmp_path / "many")


def assert_same_ranking(one: Path, many: Path) -> None:
    for arm in LEARNING:
        alone, together = (next((out / "arms" / arm).glob(f"*/seed-{SEED}")) for out in (one, many))
        assert steps(alone) == steps(together) > 3
        for task in ("ctr", "cvr"):
            assert_equal(*(torch.load(out / f"best_{task}.pt", weights_only=True) for out in (alone, together)))
        with np.load(alone / "test_logits.npz") as expected, np.load(together / "test_logits.npz") as found:
            for task in ("ctr", "cvr"):
                assert np.abs(expected[task] - found[task]).max() < 1e-4
    assert_close(*(json.loads((out / "report.json").read_text()) for out in (one, many)))


def steps(place: Path) -> int:
    return int(json.loads((place / "training.json").read_text())["steps"])


def assert_equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> None:
    """But for rounding: each process sums in an order of its own, and a step of Adam makes what is left of a gradient
    near zero larger: a thousandth of its rate, 0.005, is rounding."""
    assert one.keys() == two.keys()
    apart = {name: float((values - two[name]).abs().max()) for name, values in one.items()}
    assert {name: distance for name, distance in apart.items() if distance > 5e-6} == {}


def assert_close(one: Any, other: Any) -> None:
    """The same tree of values, numbers but for rounding."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one.keys() - {"seconds"}:
            assert_close(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for values in zip(one, other, strict=True):
            assert_close(*values)
    elif isinstance(one, float):
        assert other == pytest.approx(one, abs=1e-4)
    else:
        assert one == other


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"slots": {}}, "ranker.slots: Dictionary should have at least 1 item"),
        ({"user": "person"}, "ranker.user: 'person' is not an id slot"),
        ({"impressions": 5}, "ranker.impressions"),
    ],
)
def test_a_bad_config_is_refused(
    world: SmallWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], message: str
) -> None:
    path, *rest = arguments(world, tmp_path / "out")
    resolved = json.loads(Path(path).read_text())
    Path(path).write_text(json.dumps({"ranker": {**resolved["ranker"], **changes}}))
    assert main([path, *rest]) == 2
    assert message in capsys.readouterr().err


def test_what_is_no_resolved_config_is_refused(
    world: SmallWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, *rest = arguments(world, tmp_path / "out")
    assert main([path, *rest, "--arms", "every"]) == 2
    assert "--arms: 'every' is not an arm" in capsys.readouterr().err
    for text in ("{not: 'JSON'}", "[]", "{}"):
        Path(path).write_text(text)
        assert main([path, *rest]) == 2
        assert "expected what `transra config show` prints, with `ranker`" in capsys.readouterr().err


def test_a_run_without_a_graph_is_refused(
    world: SmallWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments(world, tmp_path / "out"), "--vectors", "nowhere"]) == 65
    assert "nowhere/graph/graph.json: expected a partitioned graph" in capsys.readouterr().err
