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
from tests.worlds.small_impressions import SmallWorld, config, small_world, write_run

REPOSITORY = Path(__file__).resolve().parents[2]
SEED = 2  # with others a gradient of one weight is rounding alone, which a step of Adam makes as large as any
LEARNING = ("init_finetune", "attention")  # both kinds of tables with sparse gradients, and the dense rest


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> SmallWorld:
    torch.set_num_threads(1)
    world = small_world(tmp_path_factory.mktemp("processes"), rows=3000)
    write_run(world.root / "run", world.export)
    return world


def arguments(world: SmallWorld, out: Path, **changes: Any) -> list[str]:
    settings = config(arms={name: ARMS[name] for name in LEARNING}, **changes)
    path = out.with_suffix(".json")
    path.write_text(json.dumps({"ranker": settings.model_dump(mode="json")}))
    return [str(path), "--vectors", "run", "--out", str(out), "--root", str(world.root)]


def training(batch_size: int) -> dict[str, Any]:
    """No dropout, since each process draws its own; the last batch of the epoch is ragged."""
    return {"batch_size": batch_size, "seeds": [SEED], "lr": 0.005, "eval_every": 5, "keep_negatives": 0.7}


def test_two_processes_equal_one_with_twice_the_batch(world: SmallWorld, tmp_path: Path) -> None:
    assert main(arguments(world, tmp_path / "one", training=training(250))) == 0
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "ranker"]
    done = subprocess.run(
        [*command, *arguments(world, tmp_path / "two", training=training(125))],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("match rate") == 1, "only one process says what came out"
    for arm in LEARNING:
        one, two = (next((tmp_path / name / "arms" / arm).glob(f"*/seed-{SEED}")) for name in ("one", "two"))
        assert steps(one) == steps(two) > 3
        for task in ("ctr", "cvr"):
            assert_equal(*(torch.load(side / f"best_{task}.pt", weights_only=True) for side in (one, two)))
        with np.load(one / "test_logits.npz") as alone, np.load(two / "test_logits.npz") as together:
            for task in ("ctr", "cvr"):
                assert np.abs(alone[task] - together[task]).max() < 1e-4


def steps(place: Path) -> int:
    return int(json.loads((place / "training.json").read_text())["steps"])


def assert_equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> None:
    """But for rounding: each process sums in an order of its own, and a step of Adam makes what is left of a gradient
    near zero larger: a thousandth of its rate, 0.005, is rounding."""
    assert one.keys() == two.keys()
    apart = {name: float((values - two[name]).abs().max()) for name, values in one.items()}
    assert {name: distance for name, distance in apart.items() if distance > 5e-6} == {}


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
