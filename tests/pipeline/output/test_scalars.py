"""TensorBoard's scalars: read back by TensorBoard itself, also after a kill; and a missing package is said early."""

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torchbiggraph.types import Bucket
from tqdm import tqdm

from artifacts.errors import ConfigError
from artifacts.scalars import require_tensorboard
from pbg_transra.reports import BucketDone, ValidationDone
from pipeline.stages.told.train_events import train_events


def bucket(trained: int, loss: float) -> BucketDone:
    return BucketDone(0, Bucket(0, 1), 1000, loss, 0.5, 0.25, 0.1, trained)


def curve(directory: Path, name: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(directory))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def test_scalars_of_a_training_that_was_killed_and_went_on(tmp_path: Path) -> None:
    directory = tmp_path / "tensorboard"
    with tqdm(disable=True) as bar:
        with train_events(bar, print, directory) as events:
            for number in (1, 2, 3):
                events.bucket(bucket(1000 * number, 4.0 - number))
        with train_events(bar, print, directory) as events:  # from the snapshot after the second bucket
            events.bucket(bucket(3000, 0.5))
            events.validation(ValidationDone(1, "mrr", 0.25, 1, 9.0, 3000))
    assert curve(directory, "train/loss") == [(1000, 3.0), (2000, 2.0), (3000, 0.5)]
    assert curve(directory, "train/edges_per_second")[0] == (1000, 2000.0)
    assert curve(directory, "train/swap_seconds")[0] == (1000, 0.25)
    assert curve(directory, "train/lr")[0] == (1000, pytest.approx(0.1))
    assert curve(directory, "train/memory_gib")[0][1] > 0
    assert curve(directory, "validation/mrr") == [(3000, 0.25)]


def test_without_the_option_nothing_is_written(tmp_path: Path) -> None:
    with tqdm(disable=True) as bar, train_events(bar, print, None) as events:
        events.bucket(bucket(1000, 3.0))
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_one_line_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    require_tensorboard("model.tensorboard")
    monkeypatch.setattr("artifacts.scalars.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"model.tensorboard: .*pip install '.\[tensorboard\]'") as caught:
        require_tensorboard("model.tensorboard")
    assert len(caught.value.lines) == 1
