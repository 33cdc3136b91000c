"""What a model says on average is what its training rows hold: the intercept that is set after training."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from artifacts.embeddings import Embeddings
from ranker.config.sections import RankerConfig
from ranker.data.batch import Batch
from ranker.data.records import SPLITS, Split, Summary
from ranker.evaluation.predictions import logits_of
from ranker.model.ranker_model import RankerModel
from ranker.training import calibration
from ranker.training.calibration import calibrate_, intercept, kept_negatives
from ranker.training.trainer import Training
from tests.worlds.small_impressions import SmallWorld, config, prepared, small_world

SETTINGS = {
    "backbone": {"hidden": [32], "cross_rank": 8, "dropout": 0.7},
    "training": {"batch_size": 64, "lr": 0.01, "patience": 100},
}


@pytest.fixture
def world(tmp_path: Path) -> SmallWorld:
    """A click in five is left."""
    torch.set_num_threads(1)
    world = small_world(tmp_path, rows=3000)
    kept = np.random.default_rng(1).random(3000) < 0.2
    clicks = np.asarray(world.columns["click"]) * kept
    world.write(click=clicks, conversion=np.where(kept, np.asarray(world.columns["conversion"]), 0))
    return world


def splits(world: SmallWorld, settings: RankerConfig) -> tuple[Summary, list[Split]]:
    summary = prepared(world, settings)
    return summary, [Split.of(world.root / "prepared", name, summary) for name in SPLITS]


def trained(world: SmallWorld, directory: Path, valid: bool, arm: str = "attention", **changes: Any) -> RankerModel:
    """The model, with the weights that are kept for clicks."""
    settings = config(**{**SETTINGS, **changes})
    summary, (train, validation, _) = splits(world, settings)
    torch.manual_seed(0)
    model = RankerModel(settings, settings.arms[arm], summary, Embeddings(world.export))
    directory.mkdir(exist_ok=True)
    Training(model, settings, 0, 0, directory).run(train, validation if valid else None, lambda done, last: None)
    if valid:
        model.load_state_dict(torch.load(directory / "best_ctr.pt", weights_only=True))
    return model


def as_trained(world: SmallWorld, model: RankerModel, added: float) -> float:
    """Clicks predicted over those observed on the training rows, with dropout on and so much added to each logit."""
    _, (train, *_) = splits(world, config(**SETTINGS))
    records = train.read(0, len(train))
    model.train()
    torch.manual_seed(1)
    logits = logits_of(model, records, 0)["ctr"].astype(np.float64)
    model.eval()
    return float((1 / (1 + np.exp(-logits - added))).sum() / (records["click"] == 1).sum())


@pytest.mark.parametrize("valid", [True, False], ids=["ranked", "fitted"])
def test_a_model_says_what_its_training_rows_hold(world: SmallWorld, tmp_path: Path, valid: bool) -> None:
    model = trained(world, tmp_path / "training", valid)
    moved = float(model.intercept)
    assert moved != 0
    assert as_trained(world, model, moved) == pytest.approx(
        1, abs=0.01
    )  # other draws than those that it was fitted with


def test_what_training_ends_off_by_is_taken_back(world: SmallWorld, tmp_path: Path) -> None:
    model = trained(world, tmp_path / "training", valid=False)
    with torch.no_grad():
        for branch in ("whole", "tabular_alone"):
            model.get_parameter(f"{branch}.heads.towers.ctr.bias").add_(0.5)
    before = as_trained(world, model, 0.0)
    calibrate_(model, splits(world, config(**SETTINGS))[1][0], 0, 0)
    assert before > 1.2 and as_trained(world, model, float(model.intercept)) == pytest.approx(1, abs=0.01)


def test_the_intercept_is_added_in_use_alone(world: SmallWorld, tmp_path: Path) -> None:
    model = trained(world, tmp_path / "training", valid=True)
    _, (train, *_) = splits(world, config(**SETTINGS))
    records, moved = train.read(0, 50), float(model.intercept)
    used = logits_of(model, records, 0)
    model.intercept.zero_()
    bare = logits_of(model, records, 0)
    assert np.allclose(used["ctr"] - bare["ctr"], moved, atol=1e-5) and abs(moved) > 0.01
    assert np.array_equal(used["cvr"], bare["cvr"])  # of clicks that it knows by heart it would learn the wrong thing
    batch = Batch.of(records, 0)
    drawn = []
    for value in (0.0, 5.0):
        model.intercept.fill_(value)
        model.train()
        torch.manual_seed(0)
        drawn.append(model(batch)["ctr"])
    assert torch.equal(*drawn)


def test_negatives_that_are_left_out_count(world: SmallWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = trained(world, tmp_path / "training", valid=True)
    moved = float(whole.intercept)
    monkeypatch.setattr(calibration, "ROWS", 1000)
    _, (train, *_) = splits(world, config(**SETTINGS))
    assert kept_negatives(train) < 0.5
    calibrate_(whole, train, 0, 0)
    assert float(whole.intercept) == pytest.approx(moved, abs=0.05)


def test_a_repeated_call_keeps_the_same_weights(world: SmallWorld, tmp_path: Path) -> None:
    once = trained(world, tmp_path / "training", valid=True).state_dict()
    again = trained(world, tmp_path / "training", valid=True).state_dict()  # the training itself is done
    assert float(once["intercept"]) != 0 and all(torch.equal(once[name], again[name]) for name in once)


def test_intercept_of_weighted_rows() -> None:
    rng = np.random.default_rng(0)
    logits, weights = 2 * rng.normal(size=5000) - 4, rng.uniform(1, 5, 5000)
    labels = (rng.random(5000) < 1 / (1 + np.exp(-logits - 1.5))).astype(float)
    moved = intercept(logits, labels, weights)
    assert moved == pytest.approx(1.5, abs=0.2)
    assert weights @ (1 / (1 + np.exp(-logits - moved))) == pytest.approx(weights @ labels, rel=1e-9)
    assert intercept(logits + 60, labels, weights) == pytest.approx(moved - 60, rel=1e-6)  # far away
    for label in (0.0, 1.0):
        assert intercept(logits, np.full(5000, label), weights) == 0


@pytest.mark.parametrize(
    ("rows", "positives", "share"), [(1000, 10, 1.0), (1 << 20, 1 << 10, 0.125), (1 << 20, 1 << 18, 1 / 3)]
)
def test_negatives_that_are_looked_at(tmp_path: Path, rows: int, positives: int, share: float) -> None:
    path = tmp_path / "train.bin"
    with path.open("wb") as file:
        file.truncate(rows)
    assert kept_negatives(Split(path, np.dtype("i1"), positives)) == pytest.approx(share, rel=0.02)
