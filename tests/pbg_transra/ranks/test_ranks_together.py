"""Two ranks that train one model, without the command line: as good as one, and one that is killed ends the other.

`test_ranks.py` has the commands themselves, in processes, under torchrun and with addresses of their own.
"""

import multiprocessing
import os
import re
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch

from artifacts.embeddings import Embeddings
from artifacts.errors import PeerError
from artifacts.formats.graph import load_graph
from pbg_transra.config import EvaluateConfig, ExportConfig, FreezeConfig, ModelConfig
from pbg_transra.evaluation.report import evaluate
from pbg_transra.export.export import export_embeddings
from pbg_transra.pbg.checkpoint import Checkpoint
from pbg_transra.ranks.coordinator import Coordinator
from pbg_transra.ranks.wire import Floats
from pbg_transra.reports import BucketDone
from pbg_transra.start.from_run import adopt_run
from pbg_transra.start.published import PublishedModel
from pbg_transra.training.train import train
from tests.worlds.rank_threads import (
    PARTITIONS,
    groups_with_categories,
    moved_groups,
    train_as,
    train_first,
    train_together,
)

EPOCHS, CATEGORY = 5, "category"
OF_RUN = {"config_hash": "h", "run_id": "r", "metrics": {}}
CONFIG = ModelConfig(
    operator="transra", anchors=("click",), dimension=24, epochs=EPOCHS, workers=1, batch_size=200, seed=1
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Ranks are forked here, and OpenMP's threads do not survive that."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def hits(graph_dir: Path, model_dir: Path) -> float:
    """Hits@20: as many as a group has items, so that noise within a group does not count."""
    found = evaluate(graph_dir, model_dir, CONFIG, EvaluateConfig(ks=(20,)), lambda label, done: None)
    return float(found["hits@20"])


def test_two_ranks_are_as_good_as_one(tmp_path: Path) -> None:
    """Over 3 seeds two were at 0.985 to 1.014 of one; with relations averaged, not added up, at 0.88 to 0.93."""
    graph_dir, alone, together = (tmp_path / name for name in ("graph", "alone", "together"))
    for directory in (graph_dir, alone, together):
        directory.mkdir()
    moved_groups(graph_dir)
    train(graph_dir, alone, CONFIG, lambda progress: None, lambda done: None)
    done: list[BucketDone] = []
    first, (second,) = train_together(graph_dir, together, CONFIG, on_bucket=done.append)
    assert first.epochs == EPOCHS and second.buckets
    trained = Counter((one.pass_index, one.bucket) for one in done)
    assert set(trained.values()) == {1} and len(trained) == EPOCHS * PARTITIONS**2, "every bucket once in every epoch"
    assert hits(graph_dir, together) / hits(graph_dir, alone) == pytest.approx(1, abs=0.05)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph with a type of one partition; nothing is written into it."""
    graph_dir = tmp_path_factory.mktemp("mixed")
    groups_with_categories(graph_dir)
    return graph_dir


def scores(graph_dir: Path, model_dir: Path) -> dict[str, float]:
    """MRR of each relation."""
    found = evaluate(graph_dir, model_dir, CONFIG, EvaluateConfig(), lambda label, done: None)["relations"]
    return {name: float(metrics["mrr"]) for name, metrics in found.items()}


def table(model_dir: Path, kind: str = CATEGORY) -> np.ndarray:
    """The committed vectors of a type's first partition."""
    with Checkpoint(model_dir).vectors(kind, 0) as dataset:
        return np.array(dataset)


def test_a_type_of_one_partition_is_as_good_as_on_one_machine(mixed: Path, tmp_path: Path) -> None:
    alone, together, out = (tmp_path / name for name in ("alone", "together", "out"))
    for directory in (alone, together, out):
        directory.mkdir()
    train(mixed, alone, CONFIG, lambda progress: None, lambda done: None)
    done: list[BucketDone] = []
    train_together(mixed, together, CONFIG, on_bucket=done.append)
    trained = Counter((one.pass_index, one.bucket) for one in done)
    assert set(trained.values()) == {1} and len(trained) == EPOCHS * PARTITIONS**2, "every bucket once in every epoch"
    one, two = scores(mixed, alone), scores(mixed, together)
    assert min(one.values()) > 0.3, "at random it is 0.09 among 48 categories, 0.015 among 480 items"
    for name, score in two.items():
        assert score / one[name] > 0.85, name
    report = export_embeddings(mixed, together, out, CONFIG, ExportConfig(), OF_RUN, lambda label, done: None)
    assert (report.entities, report.untrained) == (load_graph(mixed).entities, 0)
    exported = Embeddings(out / "embeddings.h5")
    rows = exported.rows(CATEGORY, [f"c{row}" for row in range(48)])
    np.testing.assert_array_equal(exported.vectors(CATEGORY)[rows], table(together))


def test_one_machine_goes_on_with_what_several_trained_and_they_with_what_it_did(mixed: Path, tmp_path: Path) -> None:
    """All begin with the table that is committed, whoever wrote it, and one file of it is written."""
    model_dir = tmp_path / "model"
    model_dir.mkdir()
    begun: list[np.ndarray] = []
    share = Coordinator.share

    def spied(coordinator: Coordinator, values: Floats) -> None:
        begun.append(values)
        share(coordinator, values)

    def trained(epochs: int) -> np.ndarray:
        config = CONFIG.model_copy(update={"epochs": epochs})
        if epochs == 2:
            report = train(mixed, model_dir, config, lambda progress: None, lambda done: None)
        else:
            with patch.object(Coordinator, "share", spied):
                report, _ = train_together(mixed, model_dir, config)
        assert (report.resumed_epochs, report.epochs) == (epochs - 1, epochs)
        assert len(list(model_dir.glob("embeddings_category_*"))) == 1
        return table(model_dir)

    first, second, _ = (trained(epochs) for epochs in (1, 2, 3))
    assert not np.allclose(first, second)
    again = begun[-1][-second.size - len(second) :].reshape(len(second), -1)
    np.testing.assert_array_equal(again[:, :-1], second)
    assert again[:, -1].min() > 0, "Adagrad's sums go on, too"


def test_a_warm_start_holds_of_a_type_of_one_partition(mixed: Path, tmp_path: Path) -> None:
    """Its bound on drift and what is frozen: both are kept by rank 0, for the copies of all."""
    before, bounded, held = (tmp_path / name for name in ("before", "bounded", "held"))
    for directory in (before, bounded, held):
        directory.mkdir()
    train(mixed, before, CONFIG.model_copy(update={"epochs": 1}), lambda progress: None, lambda done: None)
    known = table(before)
    for directory, more in ((bounded, {"max_drift": 0.05}), (held, {"freeze": FreezeConfig(types=(CATEGORY,))})):
        config = CONFIG.model_copy(update={"epochs": 2, "warm_start": "latest", **more})
        adopt_run(PublishedModel("r", mixed, before, CONFIG), mixed, config, directory)
        train_together(mixed, directory, config)
    moved = np.linalg.norm(table(bounded) - known, axis=1) / np.linalg.norm(known, axis=1)
    assert 0.02 < moved.max() <= 0.05 * 1.001
    np.testing.assert_array_equal(table(held), known)
    assert not np.allclose(table(held, "item"), table(before, "item")), "what is not frozen was trained"


LONG = CONFIG.model_copy(update={"epochs": 500})


def dies(after: int) -> Callable[[BucketDone], None]:
    """Its process is killed when so many buckets are trained."""
    left = iter(range(after))

    def on_bucket(done: BucketDone) -> None:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    return on_bucket


@pytest.mark.parametrize("killed", [1, 0])
def test_a_killed_rank_ends_the_other_and_they_resume(mixed: Path, tmp_path: Path, killed: int) -> None:
    graph_dir, model_dir = mixed, tmp_path / "model"
    model_dir.mkdir()
    sides = [train_first, partial(train_as, 1)]
    life = partial(sides[killed], graph_dir, model_dir, LONG, on_bucket=dies(40))
    process = multiprocessing.get_context("fork").Process(target=life)
    process.start()
    gone = f"rank 1 ({socket.gethostname()}) is gone" if killed else "rank 0 is gone"
    try:
        with pytest.raises(PeerError, match=f"^{re.escape(gone)}; repeat the command on all ranks"):
            sides[1 - killed](graph_dir, model_dir, LONG)
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
    finally:
        process.kill()
        process.join()
    before = int((model_dir / "checkpoint_version.txt").read_text())
    assert before
    again, _ = train_together(graph_dir, model_dir, LONG.model_copy(update={"epochs": before + 1}))
    assert (again.resumed_epochs, again.epochs) == (before, before + 1)
