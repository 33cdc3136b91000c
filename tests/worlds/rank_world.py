"""A small shop whose model several ranks train, each a process of its own on this machine."""

import ctypes
import json
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.cli import main
from tests.worlds.night_world import latest_of, transra, workspace_of, write_config, write_day

REPOSITORY = Path(__file__).resolve().parents[2]
LOOPBACK, PARTITIONS, EPOCHS = "127.0.0.1", 4, 4
PATIENCE = 600.0  # seconds: a machine may be busy with other things
CLONE_NEWNET = 0x40000000  # linux/sched.h


def rank_world(root: Path) -> Path:
    """The graph is made; nothing is trained."""
    for day in (1, 2, 3):
        write_day(root, day, 3000)
    write_config(root, {"epochs": EPOCHS, "dimension": 16})
    config = json.loads((root / "c.json").read_text())
    config["graph"]["partitions"] = PARTITIONS
    (root / "c.json").write_text(json.dumps(config))
    assert transra(root, "partition", "--quiet") == 0
    return root


def copy_of(world: Path, to: Path) -> Path:
    shutil.copytree(world, to, symlinks=True)
    return to


def machines(ranks: int = 2, address: str = LOOPBACK, **more: Any) -> str:
    """An override that says who trains."""
    return f"model.machines={json.dumps({'ranks': ranks, 'address': address, 'timeout': 120, **more})}"


class Rank:
    """A process that trains: a fork, which has torch already. `namespace`: the network namespace that it lives in."""

    def __init__(self, root: Path, rank: int, *overrides: str, namespace: str | None = None) -> None:
        words = [word for override in (machines(), *overrides) for word in ("--set", override)]
        self._said = root.parent / f"rank-{rank}-{time.monotonic_ns()}.txt"
        arguments = ["train", str(root / "c.json"), "--root", str(root), "--rank", str(rank), *words]
        context = multiprocessing.get_context("fork")
        self.process = context.Process(target=_train, args=(arguments, self._said, namespace))
        self.process.start()

    def end(self) -> tuple[int, str]:
        """Exit code, and what was said."""
        self.process.join(PATIENCE)
        assert self.process.exitcode is not None, f"it does not end; {self._said.read_text()}"
        return self.process.exitcode, self._said.read_text()

    def signal(self, number: signal.Signals) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)


def _train(arguments: list[str], said: Path, namespace: str | None) -> None:
    """The life of such a process."""
    if namespace is not None:
        with open(f"/var/run/netns/{namespace}") as file:
            assert ctypes.CDLL(None).setns(file.fileno(), CLONE_NEWNET) == 0
    handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(handle, stream)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    code = main(arguments)
    sys.stdout.flush()
    os._exit(code)


@contextmanager
def ranks(*started: Rank) -> Iterator[tuple[Rank, ...]]:
    """They are gone after the block, however it ends."""
    try:
        yield started
    finally:
        for one in started:
            if one.process.exitcode is None:
                one.process.kill()
                one.process.join()


def until(condition: Callable[[], Any], what: str) -> Any:
    """Waits for it, and returns what it found."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, f"{what}: waited in vain"
        time.sleep(0.05)
    return found


def buckets(root: Path) -> list[dict[str, Any]]:
    """The buckets that rank 0 has told of, in the order in which it did."""
    (run,) = workspace_of(root).runs()
    log = run.path / "log.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")] if log.exists() else []
    return [line for line in lines if line["message"] == "bucket"]


def committed(root: Path) -> int:
    """Passes that are committed."""
    (run,) = workspace_of(root).runs()
    path = run.partial("train") / "checkpoint_version.txt"
    return int(path.read_text()) if path.exists() else 0


def mrr(root: Path) -> float:
    """Of the model that was trained, after the usual commands."""
    for command in ("evaluate", "export"):
        assert transra(root, command, "--quiet", "--set", f"model.epochs={EPOCHS}") == 0
    metrics = json.loads((latest_of(root).path / "metrics.json").read_text())
    return float(metrics["evaluate"]["mrr"])
