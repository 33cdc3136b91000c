"""A small shop whose model several ranks train, each a process of its own on this machine."""

import json
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.cli import main
from tests.worlds.forks import Fork
from tests.worlds.night_world import latest_of, transra, workspace_of, write_config, write_day

REPOSITORY = Path(__file__).resolve().parents[2]
LOOPBACK, PARTITIONS, EPOCHS = "127.0.0.1", 4, 4


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


class Rank(Fork):
    """A process that trains. `namespace`: the network namespace that it lives in."""

    def __init__(self, root: Path, rank: int, *overrides: str, namespace: str | None = None) -> None:
        words = [word for override in (machines(), *overrides) for word in ("--set", override)]
        said = root.parent / f"rank-{rank}-{time.monotonic_ns()}.txt"
        arguments = ["train", str(root / "c.json"), "--root", str(root), "--rank", str(rank), *words]
        super().__init__(partial(main, arguments), said, namespace)


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
