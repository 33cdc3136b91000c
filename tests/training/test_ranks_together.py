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

import pytest
import torch

from artifacts.errors import PeerError
from pbg_transra.config import EvaluateConfig, ModelConfig
from pbg_transra.evaluation.report import evaluate
from pbg_transra.reports import BucketDone
from pbg_transra.training.train import train
from tests.worlds.rank_threads import PARTITIONS, moved_groups, train_as, train_first, train_together
from tests.worlds.small_graphs import block_graph

EPOCHS = 5
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


LONG = CONFIG.model_copy(update={"epochs": 500})


def dies(after: int) -> Callable[[BucketDone], None]:
    """Its process is killed when so many buckets are trained."""
    left = iter(range(after))

    def on_bucket(done: BucketDone) -> None:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    return on_bucket


@pytest.mark.parametrize("killed", [1, 0])
def test_a_killed_rank_ends_the_other_and_they_resume(tmp_path: Path, killed: int) -> None:
    graph_dir, model_dir = tmp_path / "graph", tmp_path / "model"
    for directory in (graph_dir, model_dir):
        directory.mkdir()
    block_graph(graph_dir, PARTITIONS)
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
