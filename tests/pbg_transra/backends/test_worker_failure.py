"""What goes wrong in a training process reaches the command, and log.jsonl with the place in the worker."""

import json
import multiprocessing
import os
import signal
import threading
from multiprocessing import resource_tracker
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from artifacts.errors import DataError
from pbg_transra import ModelConfig, plan_training
from pbg_transra.backends.worker_failure import WorkerFailure
from pbg_transra.backends.workers import Bench, Workers
from pipeline.cli import main
from tests.pipeline.running.test_status import command, write_root


class NeedsTwo(Exception):
    """Pickles, and cannot be made of its pickle again."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one)


class HoldsLock(Exception):
    """Cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("of a lock")
        self.lock = threading.Lock()


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return WorkerFailure.of(caught).error()


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (DataError("one", "two"), DataError, "one\ntwo"),
        (NeedsTwo("a", "b"), RuntimeError, "NeedsTwo: a"),
        (HoldsLock(), RuntimeError, "HoldsLock: of a lock"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_exception_arrives_with_its_traceback(error: Exception, kind: type, text: str) -> None:
    found = raised(error)
    assert type(found) is kind and str(found) == text
    assert "in raised" in str(found.__cause__) and text.split(": ")[-1] in str(found.__cause__)
    assert getattr(found, "lines", None) == getattr(error, "lines", None)


def deaf() -> None:
    """What a worker is between its fork and the end of `prepare_worker`, for good: a SIGTERM does not end it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])


@pytest.mark.parametrize("processor", ["fused", pytest.param("reference", marks=pytest.mark.slow)])
def test_workers_that_have_barely_begun_end_with_the_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processor: str
) -> None:
    """As after a resume that finds nothing left to train. Without an end this waits for ever: hence the alarm."""
    root = write_root(tmp_path)
    assert main([*command(root, "partition"), "--set", f"model.processor={processor}"]) == 0
    monkeypatch.setattr("pbg_transra.backends.workers.prepare_worker", deaf)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(120)
    assert main([*command(root, "train"), "--set", f"model.processor={processor}"]) == 0
    signal.alarm(0)
    assert not multiprocessing.active_children()


def broken(self: Bench, task: Any, share: slice) -> None:
    raise NeedsTwo("on purpose", "and in a worker")


def test_the_log_has_the_place_in_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing of it is printed but one line."""
    root = write_root(tmp_path)
    assert main(command(root, "partition")) == 0
    monkeypatch.setattr("pipeline.stages.train.Train.plan", lambda *arguments: {})
    monkeypatch.setattr(Bench, "do", broken)
    capfd.readouterr()
    assert main(command(root, "train")) == 70
    assert capfd.readouterr().err.count("\n") == 1
    (log,) = (root / "runs/c").glob("2*/log.jsonl")
    last = json.loads(log.read_text().splitlines()[-1])
    assert "in broken" in last["traceback"] and "NeedsTwo: on purpose" in last["traceback"]


@pytest.mark.parametrize("processor", ["fused", pytest.param("reference", marks=pytest.mark.slow)])
def test_a_training_that_diverges_while_its_speed_is_measured(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], processor: str
) -> None:
    """A scale that no config may have, so it is given to the stage itself. Nothing else is printed, by no process."""
    root = write_root(tmp_path)
    assert main(command(root, "partition")) == 0
    (graph,) = (root / "runs/c").glob("2*/graph")
    config = ModelConfig(anchors=("click",), dimension=4, workers=1, processor=processor)
    capfd.readouterr()
    with pytest.raises(
        DataError, match="^training diverges in its first steps: relation 'click' has loss nan in batch 1"
    ):
        plan_training(graph, config.model_copy(update={"scale": 1e300}), None, None, tmp_path)
    assert capfd.readouterr().err == ""


def test_a_killed_resource_tracker_is_not_worth_a_line(recwarn: pytest.WarningsRecorder) -> None:
    """Python's own process beside those that are spawned; whoever kills it has killed nothing of ours."""
    resource_tracker.ensure_running()
    pid = resource_tracker._resource_tracker._pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    processor = SimpleNamespace(start_method="spawn")
    with Workers(1, Bench(processor, {}, [])):
        pass
    assert [str(each.message) for each in recwarn if "resource_tracker" in str(each.message)] == []
