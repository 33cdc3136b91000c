"""The whole ranking on a tiny world: every arm learns, and a killed run goes on as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from artifacts.errors import ConfigError
from ranker import ImpressionsPrepared, RankerConfig, Report, TrialBegan, TrialEnded, rank
from ranker.config.arms import ARMS
from ranker.data.ids.exports import Export
from ranker.evaluation.report import table
from tests.worlds.small_impressions import START, SmallWorld, config, small_world

LEARNED = {  # test AUC on clicks that each arm must reach; a coin has 0.5, and the tabular columns tell a little
    "none": 0.56,
    "id_only": 0.64,
    "frozen_concat": 0.70,
    "init_finetune": 0.70,
    "id_concat": 0.74,
    "attention_no_id": 0.76,
    "attention": 0.80,
}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> SmallWorld:
    return small_world(tmp_path_factory.mktemp("world"))


def run(
    world: SmallWorld,
    out: Path,
    arms: Sequence[str] = tuple(ARMS),
    exports: Sequence[str] = ("base",),
    tell: Callable[[Report], None] = lambda report: None,
    progress: Callable[[str, float], None] = lambda step, done: None,
    **changes: Any,
) -> dict[str, Any]:
    """Ranks with some of the arms; the exports are one file under several names."""
    out.mkdir(exist_ok=True)
    settings = config(arms={name: ARMS[name] for name in arms}, compare=["all"], **changes)
    found = {name: Export(world.export, START - 1) for name in exports}
    return rank(settings, world.root, found, out, progress, out / "tensorboard", tell=tell)


@pytest.fixture(scope="module")
def report(world: SmallWorld, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run(world, tmp_path_factory.mktemp("all") / "out")


def test_every_arm_is_tested() -> None:
    assert LEARNED.keys() == ARMS.keys()


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_learns_clicks(report: dict[str, Any], arm: str) -> None:
    found = report["arms"][arm]["ctr"]
    assert found["auc"] > LEARNED[arm]
    assert found["intervals"]["auc"][0] < found["auc"] < found["intervals"]["auc"][1]
    assert found["ne"] < 1 and 0.85 < found["calibration"] < 1.15


@pytest.mark.parametrize("arm", [name for name, arm in ARMS.items() if arm.vectors != "none"])
def test_graph_vectors_tell_conversions(report: dict[str, Any], arm: str) -> None:
    assert report["arms"][arm]["cvr"]["auc"] > 0.6


def test_attention_beats_the_tabular_arm_with_a_paired_interval(report: dict[str, Any]) -> None:
    (found,) = [
        one
        for one in report["comparisons"]["ctr"]
        if (one["arm"], one["baseline"], one["segment"], one["metric"]) == ("attention", "none", "all", "auc")
    ]
    assert found["interval"][0] > 0.1
    assert found["difference"] == report["arms"]["attention"]["ctr"]["auc"] - report["arms"]["none"]["ctr"]["auc"]


def test_the_report_says_what_it_was_measured_on(report: dict[str, Any]) -> None:
    assert sum(counts["rows"] for counts in report["rows"].values()) == 12_000
    assert report["match_rates"]["base"]["user_id"]["ids"] == pytest.approx(0.95, abs=0.01)
    assert report["match_rates"]["base"]["recent"]["traffic"] == 1
    assert report["arms"]["id_only"]["parameters"]["ids"] == 4096 * 4
    assert report["arms"]["attention"]["ctr"]["segments"]["cold_user"]["rows"] > 50
    assert json.loads(json.dumps(report)) == report
    assert "attention_no_id" in table(report) and "match rate base: user_id 95" in table(report)


def test_seeds_exports_and_the_choice_of_arms(world: SmallWorld, tmp_path: Path) -> None:
    training = {"seeds": [1, 2], "batch_size": 512}
    report = run(world, tmp_path / "out", ("none", "attention_no_id"), ("one", "two"), training=training)
    assert list(report["arms"]) == ["none", "attention_no_id", "attention_no_id@two"]
    one, two = (report["arms"][name]["ctr"]["seeds"] for name in ("attention_no_id", "attention_no_id@two"))
    assert one == two and one["1"]["auc"] != one["2"]["auc"]
    assert report["arms"]["none"]["ctr"]["auc"] == np.mean(
        [seed["auc"] for seed in report["arms"]["none"]["ctr"]["seeds"].values()]
    )


def test_without_an_export_only_arms_without_vectors_run(world: SmallWorld, tmp_path: Path) -> None:
    out, training = tmp_path / "out", {"batch_size": 512}
    report = run(world, out, ("none", "id_only"), (), training=training)
    assert list(report["arms"]) == ["none", "id_only"] and report["match_rates"] == {}
    with pytest.raises(ConfigError, match="arm 'attention' reads graph vectors, and there is no export"):
        run(world, out, ("attention",), (), training=training)


def test_mmoe_and_conversions_from_clicks_learn(world: SmallWorld, tmp_path: Path) -> None:
    report = run(
        world, tmp_path / "out", arms=("attention_no_id",), heads={"kind": "mmoe", "experts": 2, "cvr": "clicks"}
    )
    assert report["arms"]["attention_no_id"]["ctr"]["auc"] > 0.74
    assert report["arms"]["attention_no_id"]["cvr"]["auc"] > 0.6


@pytest.mark.parametrize("labels", [{"click": "click"}, {"conversion": "click"}], ids=["clicks", "conversions"])
def test_a_log_with_one_label(world: SmallWorld, tmp_path: Path, labels: dict[str, str]) -> None:
    report = run(world, tmp_path / "out", arms=("attention_no_id",), labels=labels)
    (task,) = {"ctr", "cvr"} & report["arms"]["attention_no_id"].keys()
    assert task == ("ctr" if "click" in labels else "cvr")
    assert report["arms"]["attention_no_id"][task]["auc"] > 0.74


def test_down_sampling_keeps_predictions_calibrated(world: SmallWorld, tmp_path: Path) -> None:
    training = {"keep_negatives": 0.3, "batch_size": 64, "lr": 0.005}
    found = run(world, tmp_path / "out", arms=("attention_no_id",), training=training)["arms"]["attention_no_id"]["ctr"]
    assert found["auc"] > 0.74 and 0.85 < found["calibration"] < 1.15


@pytest.mark.parametrize(("training", "size"), [({}, 64), ({"batch_size": 512}, 512), ({"keep_negatives": 0.4}, 64)])
def test_a_small_log_gets_small_batches_unless_the_config_says(
    world: SmallWorld, tmp_path: Path, training: dict[str, Any], size: int
) -> None:
    report = run(world, tmp_path / "out", arms=("none",), training=training)
    (path,) = tmp_path.rglob("training.json")
    rows = report["rows"]["train"]
    kept = rows["clicks"] + training.get("keep_negatives", 1) * (rows["rows"] - rows["clicks"])
    assert json.loads(path.read_text())["steps"] == pytest.approx(kept / size, rel=0.05, abs=1)


def test_a_large_log_gets_a_thousand_steps_an_epoch(
    world: SmallWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ranker.config.sections.STEPS", 20)
    told: list[tuple[str, float]] = []
    run(world, tmp_path / "out", arms=("none",), training={}, progress=lambda *now: told.append(now))
    (path,) = tmp_path.rglob("training.json")
    assert json.loads(path.read_text())["steps"] == pytest.approx(20, abs=1)
    assert told[-1][1] < 1, "it is not done while intervals are drawn"
    assert [step for step, _ in told[-2:]] == ["intervals of none ctr", "intervals of none cvr"]


def test_one_epoch_is_validated_every_n_steps_and_told_with_its_auc(world: SmallWorld, tmp_path: Path) -> None:
    settings = config(arms={"none": ARMS["none"]}, training={"batch_size": 128, "eval_every": 20}, tensorboard=True)
    told: list[str] = []
    curves = tmp_path / "tensorboard"
    report = rank(settings, world.root, {}, tmp_path, lambda text, done: told.append(text), curves)
    (path,) = (tmp_path / "arms").rglob("training.json")
    found = json.loads(path.read_text())
    steps = [one["step"] for one in found["history"]]
    assert found["steps"] == -(-report["rows"]["train"]["rows"] // 128), "one epoch"
    assert steps == [20, 40, 60, found["steps"]]
    assert f"none seed 0 ctr auc {found['history'][0]['ctr']['auc']:.4f} cvr" in " ".join(told)
    events = EventAccumulator(str(curves / "none" / "seed-0"))
    events.Reload()
    assert [event.step for event in events.Scalars("ctr/auc")] == steps
    assert events.Scalars("cvr/logloss")[0].value == pytest.approx(found["history"][0]["cvr"]["logloss"], rel=1e-5)


def test_training_stops_when_no_task_gets_better(world: SmallWorld, tmp_path: Path) -> None:
    training = {"epochs": 50, "eval_every": 20, "patience": 2, "lr": 0.02, "batch_size": 128}
    run(world, tmp_path / "out", arms=("id_concat",), training=training)
    (path,) = (tmp_path / "out").rglob("training.json")
    found = json.loads(path.read_text())
    assert found["steps"] < 50 * 66 / 2
    for task, (_, loss) in found["best"].items():
        losses = [one[task]["logloss"] for one in found["history"]]
        assert min(losses) not in losses[-2:]  # none of the last `patience` validations was better
        assert loss <= min(losses) + 0.1 * max(one[task]["logloss_error"] for one in found["history"])


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_training_is_validated_four_times_in_each_epoch(world: SmallWorld, tmp_path: Path, epochs: int) -> None:
    training = {"epochs": epochs, "patience": 1000, "batch_size": 128}
    run(world, tmp_path / "out", arms=("none",), training=training)
    (path,) = (tmp_path / "out").rglob("training.json")
    found = json.loads(path.read_text())
    assert len(found["history"]) == 4 * epochs and found["history"][-1]["step"] == found["steps"]


def test_a_killed_run_goes_on_as_if_nothing_had_happened(world: SmallWorld, tmp_path: Path) -> None:
    """SIGKILL in the second of two arms; the report is that of an uninterrupted run."""
    training = {"epochs": 2, "eval_every": 20, "patience": 9, "batch_size": 128}
    backbone = {"hidden": [16], "dropout": 0.2}
    arms = ("none", "attention")
    whole = run(world, tmp_path / "whole", arms, training=training, backbone=backbone)
    killed = tmp_path / "killed"
    killed.mkdir()
    code = (
        "import torch; torch.set_num_threads(1)\n"
        "from pathlib import Path; from tests.ranker.experiment.test_experiment import run\n"
        "from tests.worlds.small_impressions import SmallWorld\n"
        f"world = SmallWorld(Path({str(world.root)!r}), Path({str(world.export)!r}), {{}})\n"
        f"run(world, Path({str(killed)!r}), {arms!r}, training={training!r}, backbone={backbone!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[3])
    home = killed / "arms" / "attention"
    deadline = time.monotonic() + 120
    while (
        not (states := list(home.glob("*/seed-0/state.pt"))) and process.poll() is None and time.monotonic() < deadline
    ):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert states and not (killed / "report.json").exists()
    resumed = run(world, killed, arms, training=training, backbone=backbone)
    for arm in arms:
        assert resumed["arms"][arm]["ctr"] == whole["arms"][arm]["ctr"]
        assert resumed["arms"][arm]["cvr"] == whole["arms"][arm]["cvr"]
    assert not list(killed.rglob("state.pt"))


def test_a_ranking_does_not_import_torchs_compiler(tmp_path: Path) -> None:
    """The first torch.optim.Optimizer of a process imports it, which took longer than to train a small log."""
    code = (
        "import sys; from pathlib import Path; from tests.ranker.experiment.test_experiment import run\n"
        "from tests.worlds.small_impressions import small_world\n"
        "run(small_world(Path(), rows=600), Path('out'), ['attention'])\n"
        "print('torch' in sys.modules, 'torch._dynamo' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["True", "False"], done.stderr


def test_a_change_and_back_trains_nothing_again(world: SmallWorld, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = run(world, out, arms=("none",))
    again = run(world, out, arms=("none",))
    other = run(world, out, arms=("none",), training={"lr": 0.05})
    back = run(world, out, arms=("none",))
    assert first == again == back, "seconds too"
    assert other["arms"]["none"]["ctr"]["auc"] != first["arms"]["none"]["ctr"]["auc"]


def test_trainings_of_the_last_settings_stay(world: SmallWorld, tmp_path: Path) -> None:
    out, told = tmp_path / "out", []
    rates = (0.01, 0.02, 0.03, 0.01, 0.04)  # the second is that of longest ago when the fourth is new
    for lr in rates:
        run(world, out, arms=("none",), training={"lr": lr, "batch_size": 512})
    assert len(list((out / "arms" / "none").glob("*/seed-0/training.json"))) == 3
    for lr in (0.01, 0.03, 0.04, 0.02):
        run(world, out, arms=("none",), training={"lr": lr, "batch_size": 512}, tell=told.append)
    assert [one.reused for one in told if isinstance(one, TrialEnded)] == [True, True, True, False]


def test_a_training_is_named_before_it_has_told_anything(world: SmallWorld, tmp_path: Path) -> None:
    """What is said after half a minute of silence was the training before."""
    heard: list[str] = []
    arms, once = ("none", "id_only"), {"epochs": 1, "eval_every": 1000}
    run(
        world,
        tmp_path / "out",
        arms,
        tell=lambda report: heard.append(f"{report.arm} begins") if isinstance(report, TrialBegan) else None,
        progress=lambda step, done: heard.append(step),
        training=once,
    )
    for arm in arms:
        assert heard[heard.index(f"{arm} begins") + 1] == f"{arm} seed 0"


def test_the_log_is_prepared_once_for_all_arms_seeds_and_rates(world: SmallWorld, tmp_path: Path) -> None:
    told: list[Report] = []
    out, small = tmp_path / "out", {"batch_size": 512}

    def again(arms: Sequence[str] = ("none",), **changes: Any) -> bool:
        run(world, out, arms, tell=told.append, **changes)
        return [one for one in told if isinstance(one, ImpressionsPrepared)][-1].reused

    assert not again(training=small)
    assert again(("none", "frozen_concat"), training={**small, "seeds": [0, 1], "lr": 0.01}, ids={"dim": 8})
    assert again(backbone={"hidden": [8]}, heads={"kind": "mmoe"}, bootstrap=21, threads=1, training=small)
    assert not again(numerics={"position": "log"}, training=small)
    assert again(training=small), "the last two stay beside each other"
    assert not again(exports=("base", "other"), training=small)
    assert not again(numerics={"position": "log"}, training=small), "of three, the one used longest ago is gone"
    assert len([path for path in (out / "prepared").iterdir() if path.is_dir()]) == 2


def test_training_computes_in_the_threads_that_the_config_asks_for(
    world: SmallWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr("ranker.experiment.trials.torch.manual_seed", lambda seed: seen.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    run(world, tmp_path / "asked", ("none",), training={"batch_size": 512}, threads=3)
    run(world, tmp_path / "not", ("none",), training={"batch_size": 512})
    assert {3, before} == set(seen) and torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("changes", "compared"),
    [
        ({}, ["none", "attention"]),
        ({"compare": ["all"]}, list(ARMS)),
        ({"compare": ["id_only", "none"]}, ["none", "id_only"]),
        ({"arms": {"mine": {}, "none": {"ids": True}}}, ["mine", "none"]),
    ],
)
def test_two_arms_are_compared_unless_the_config_says_more(changes: dict[str, Any], compared: list[str]) -> None:
    found = config(**changes).of_compared()
    assert list(found.arms) == compared and found.of_compared() == found


def test_an_arm_to_compare_that_is_none() -> None:
    wrong = RankerConfig.model_validate(config().model_dump() | {"compare": ("none", "atention")})
    assert [(p.path, p.message) for p in wrong.problems()] == [
        (("compare",), "'atention' is not an arm, did you mean 'attention'?")
    ]


def test_more_arms_seeds_and_exports_train_only_what_is_new(world: SmallWorld, tmp_path: Path) -> None:
    out, training = tmp_path / "out", {"batch_size": 512}
    run(world, out, ("none", "frozen_concat"), training=training)
    before = trainings(out)
    more = run(world, out, ("none", "id_only", "frozen_concat"), training={**training, "seeds": [0, 1]})
    assert list(more["arms"]) == ["none", "id_only", "frozen_concat"]
    run(world, out, ("none", "frozen_concat"), ("renamed", "runs/other"), training=training)
    after = trainings(out)
    assert before.items() <= after.items(), "finished trainings were kept"
    assert {f"{path.split('/')[0]}/seed-0" for path in after if path.endswith("seed-0")} == {
        f"{name}/seed-0" for name in ("none", "id_only", "frozen_concat", "frozen_concat@runs%2Fother")
    }
    changed = ARMS["none"].model_copy(update={"ids": True})
    rank(config(arms={"none": changed}, training=training), world.root, {}, out, lambda text, done: None, out)
    new = trainings(out).keys() - after.keys()
    assert len(new) == 1 and new.pop().startswith("none/"), "another arm under the same name"


def trainings(out: Path) -> dict[str, int]:
    """When each finished training was written (ns), by its directory."""
    found = (out / "arms").rglob("training.json")
    return {str(path.parent.relative_to(out / "arms")): path.stat().st_mtime_ns for path in found}
