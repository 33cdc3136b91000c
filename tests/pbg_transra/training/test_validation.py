"""Validation between epochs: the best checkpoint, early stopping, and both after a kill."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import pbg_transra.training.validation
from artifacts.formats.graph import load_graph
from pbg_transra.backends.processor import leave_out_, read_counters
from pbg_transra.config import ModelConfig
from pbg_transra.evaluation.validator import Validator, validation
from pbg_transra.planning.memory import check_names
from pbg_transra.reports import TrainReport, ValidationDone
from pbg_transra.training.checkpoint_files import CheckpointFiles, Position
from pbg_transra.training.train import train
from pbg_transra.training.validation import Validation, Validations
from tests.pbg_transra.training.test_swapping import Killed, assert_equal, vectors_of
from tests.worlds.small_graphs import Triples, block_graph, write_graph

MRR = {1: 0.2, 2: 0.5, 3: 0.5, 4: 0.4, 5: 0.6}  # by epoch
CONFIG = ModelConfig(operator="transr", epochs=4, validate_every=1)


@pytest.fixture(autouse=True)
def no_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Syncing waits for whatever else writes on the machine."""
    monkeypatch.setattr(os, "sync", lambda: None)


class FakeTraining:
    """Commits passes whose only vector is the epoch's number, and validates them by `MRR`."""

    def __init__(self, directory: Path, config: ModelConfig) -> None:
        directory.mkdir(exist_ok=True)
        self.config = config
        self.files = CheckpointFiles(directory, {})
        self.files.restore()
        self.validations = Validations(self.files, config, lambda directory: MRR[int(self.vector())])

    def vector(self) -> float:
        vectors = torch.zeros(1, 1)
        assert self.files.load("user", 0, vectors, torch.zeros(1))
        return float(vectors)

    def run(self) -> list[Validation | None]:
        done = [self.validations.validate()]
        while self.files.passes < self.config.passes and not self.validations.over:
            epoch = self.files.passes // self.config.edge_chunks + 1
            self.files.save("user", 0, torch.full((1, 1), float(epoch)), torch.zeros(1), 0.1)
            self.files.commit_pass(Position())
            done.append(self.validations.validate())
        self.validations.publish_best()
        return done


def changed(**values: object) -> ModelConfig:
    return ModelConfig(**{**CONFIG.model_dump(), **values})


def test_the_first_of_the_best_checkpoints_is_published(tmp_path: Path) -> None:
    training = FakeTraining(tmp_path, CONFIG)
    done = [each for each in training.run() if each]
    assert [(each.epoch, each.score) for each in done] == [(1, 0.2), (2, 0.5), (3, 0.5), (4, 0.4)]
    assert (training.files.passes, training.vector()) == (2, 2.0)
    assert {path.name for path in tmp_path.iterdir()} == {
        "checkpoint_version.txt",
        "trained.json",
        "embeddings_user_0.v2.h5",
        "validation.json",
    }


def test_patience_ends_a_training(tmp_path: Path) -> None:
    training = FakeTraining(tmp_path, changed(patience=1))
    assert len(training.run()) == 1 + 3
    assert training.vector() == 2.0


@pytest.mark.parametrize(("every", "chunks", "epochs"), [(2, 1, [2, 4]), (3, 1, [3, 4]), (9, 1, [4]), (3, 2, [3, 4])])
def test_epochs_between_validations(tmp_path: Path, every: int, chunks: int, epochs: list[int]) -> None:
    training = FakeTraining(tmp_path, changed(validate_every=every, edge_chunks=chunks))
    assert [each.epoch for each in training.run() if each] == epochs


def test_without_validation_the_last_checkpoint_is_the_model(tmp_path: Path) -> None:
    config = changed(validate_every=None)
    validations = Validations(CheckpointFiles(tmp_path, {}), config, None)
    assert (validations.validate(), validations.best, validations.over) == (None, None, False)
    validations.publish_best()
    assert not list(tmp_path.iterdir())


STEPS = {"keep_committed": 2, "write_json": 4, "rmtree": 4, "commit_kept": 1}  # how often a training takes each


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(("step", "call"), [(step, call) for step, count in STEPS.items() for call in range(count)])
def test_a_kill_anywhere_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, call: int, finished: bool
) -> None:
    """Killed before or right after a step; the next command knows only what is on disk."""
    FakeTraining(tmp_path / "once", CONFIG).run()
    owner = next(o for o in (CheckpointFiles, pbg_transra.training.validation, shutil) if hasattr(o, step))
    original, calls = getattr(owner, step), []

    def kill(*arguments: object, **options: object) -> None:
        calls.append(step)
        if len(calls) <= call or finished:
            original(*arguments, **options)
        if len(calls) == call + 1:
            raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(owner, step, kill)
        FakeTraining(tmp_path / "twice", CONFIG).run()
    FakeTraining(tmp_path / "twice", CONFIG).run()
    assert contents(tmp_path / "twice") == contents(tmp_path / "once")


def contents(directory: Path) -> dict[str, object]:
    files = CheckpointFiles(directory, {})
    vectors = torch.zeros(1, 1)
    files.load("user", 0, vectors, torch.zeros(1))
    names = sorted(path.name for path in directory.iterdir())
    return {"names": names, "vector": float(vectors), "done": json.loads((directory / "validation.json").read_text())}


def test_more_epochs_after_the_end_go_on_from_the_published_checkpoint(tmp_path: Path) -> None:
    FakeTraining(tmp_path, CONFIG).run()
    training = FakeTraining(tmp_path, changed(epochs=5))
    assert [each.epoch for each in training.run() if each] == [3, 4, 5]
    assert training.vector() == 5.0


def test_validation_does_not_count_as_training_time() -> None:
    counters = torch.tensor([[100, 1, 10, 14], [100, 1, 11, 15], [0, 0, 0, 0]], dtype=torch.double)
    leave_out_(counters, 60)
    assert read_counters(counters) == (200, 2, 5)
    counters[0] = torch.tensor([300, 1, counters[0, 2], 80])
    assert read_counters(counters)[2] == 80 - 70, "75 to 80 were trained, 10 to 15, and 60 seconds validated"


Report = Callable[[ValidationDone], None]


def trained(
    graph_dir: Path, model_dir: Path, on_validation: Report = lambda done: None, **values: object
) -> TrainReport:
    defaults = {
        "anchors": ("click",),
        "dimension": 8,
        "workers": 1,
        "batch_size": 100,
        "epochs": 3,
        "validate_every": 1,
    }
    model_dir.mkdir(exist_ok=True)
    config = ModelConfig(**{**defaults, **values})
    return train(graph_dir, model_dir, config, lambda progress: None, lambda bucket: None, on_validation)


def test_a_training_validates_resumes_and_publishes_the_best(tmp_path: Path) -> None:
    graph_dir = tmp_path / "graph"
    graph_dir.mkdir()
    graph = block_graph(graph_dir)
    once = trained(graph_dir, tmp_path / "once")
    assert [epoch for epoch, _ in once.validation_mrr] == [1, 2, 3]
    mrr = dict(once.validation_mrr)
    assert once.best_epoch == max(mrr, key=lambda epoch: mrr[epoch])
    assert mrr[once.best_epoch] > mrr[1] > 0.3, "one of forty pins by chance"
    found = Validator(graph_dir, ModelConfig(anchors=("click",), dimension=8)).measure(tmp_path / "once")
    assert found == pytest.approx(mrr[once.best_epoch], abs=1e-6)

    def stop(done: ValidationDone) -> None:
        assert done.trained == done.epoch * graph.edges("train")
        if done.epoch == 2:
            raise Killed

    with pytest.raises(Killed):
        trained(graph_dir, tmp_path / "twice", stop)
    twice = trained(graph_dir, tmp_path / "twice")
    assert (twice.validation_mrr, twice.best_epoch, twice.resumed_epochs) == (once.validation_mrr, once.best_epoch, 2)
    assert_equal(vectors_of(tmp_path / "twice", graph), vectors_of(tmp_path / "once", graph))
    again = trained(graph_dir, tmp_path / "twice")  # as after a kill between the end of training and its publication
    assert (again.epochs, again.best_epoch, again.validation_mrr) == (3, once.best_epoch, once.validation_mrr)
    assert again.loss == twice.loss == once.loss


def test_a_training_that_gets_no_better_stops_early(tmp_path: Path) -> None:
    graph_dir = tmp_path / "graph"
    graph_dir.mkdir()
    block_graph(graph_dir)
    found = trained(graph_dir, tmp_path / "model", epochs=9, patience=1, lr=1e-20, relation_lr=1e-20)
    assert (found.epochs, found.best_epoch, found.stopped_early) == (2, 1, True)
    assert (tmp_path / "model" / "checkpoint_version.txt").read_text() == "1\n"


def test_a_graph_without_valid_edges_has_nothing_to_validate(tmp_path: Path) -> None:
    """A night whose window holds nothing new is trained and published all the same."""
    write_graph(
        tmp_path,
        {"n": [3]},
        {"r": ("n", "n")},
        [Triples("r", "train", np.arange(2), np.arange(2))],
    )
    check_names(load_graph(tmp_path), CONFIG)
    assert CONFIG.validate_every and validation(tmp_path, CONFIG) is None


def test_retrieval_chooses_the_checkpoint(tmp_path: Path) -> None:
    graph_dir = tmp_path / "graph"
    graph_dir.mkdir()
    block_graph(graph_dir)
    told: list[ValidationDone] = []
    found = trained(graph_dir, tmp_path / "model", told.append, validate_by="retrieval", similarity="dot", scale=1)
    assert found.validation_mrr == []
    assert [(each.metric, each.epoch, each.score) for each in told] == [
        ("recall@20", *each) for each in found.validation_retrieval
    ]
    recall = dict(found.validation_retrieval)
    assert found.best_epoch == max(recall, key=lambda epoch: recall[epoch])
    assert recall[found.best_epoch] > 0.7, "half of forty pins by chance"


@pytest.mark.parametrize(
    "values",
    [{"validate_by": "retrieval"}, {"operator": "transr", "anchor_translation": False, "validate_every": None}],
)
def test_settings_without_effect_are_refused(values: dict[str, object]) -> None:
    config = ModelConfig(**{"operator": "transra", "anchors": () if "operator" in values else ("click",), **values})
    assert list(config.problems())
