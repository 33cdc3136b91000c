"""A small shop whose model several ranks train, each a process of its own on this machine."""

import json
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.cli import main
from tests.worlds.forks import Fork
from tests.worlds.night_world import (
    GROUPS,
    NEW_USERS,
    latest_of,
    transra,
    workspace_of,
    write_config,
    write_day,
)

REPOSITORY = Path(__file__).resolve().parents[2]
LOOPBACK, PARTITIONS, EPOCHS = "127.0.0.1", 4, 4
BOARDS, ON_BOARD = 48, "on"


def rank_world(root: Path, boards: bool = False) -> Path:
    """The graph is made; nothing is trained. With `boards` users are on some, too: a type of one partition."""
    for day in (1, 2, 3):
        write_day(root, day, 3000)
    write_config(root, {"epochs": EPOCHS, "dimension": 16})
    config = json.loads((root / "c.json").read_text())
    config["graph"]["partitions"] = PARTITIONS
    if boards:
        _write_boards(root)
        config["graph"]["sources"]["boards"] = {"path": "boards.parquet"}
        config["graph"]["entities"]["board"] = {"partitions": 1}
        ends = {side: {"type": name, "column": name} for side, name in (("lhs", "user"), ("rhs", "board"))}
        config["graph"]["relations"].append({"name": ON_BOARD, "source": "boards", **ends})
    (root / "c.json").write_text(json.dumps(config))
    assert transra(root, "partition", "--quiet") == 0
    return root


def _write_boards(root: Path) -> None:
    """Each user is on the boards of a group, which is not that of the user's pins."""
    draw, rows = np.random.default_rng(0), 3000
    users = draw.integers(0, 24 + NEW_USERS * 3, rows)
    boards = draw.integers(0, BOARDS // GROUPS, rows) * GROUPS + (users + 1) % GROUPS
    frame = pd.DataFrame({"user": [f"u{user}" for user in users], "board": [f"b{board}" for board in boards]})
    frame.to_parquet(root / "boards.parquet")


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


def judged(root: Path) -> dict[str, Any]:
    """What evaluation says of the model that was trained, after the usual commands."""
    for command in ("evaluate", "export"):
        assert transra(root, command, "--quiet", "--set", f"model.epochs={EPOCHS}") == 0
    found: dict[str, Any] = json.loads((latest_of(root).path / "metrics.json").read_text())["evaluate"]
    return found


def mrr(root: Path) -> float:
    """Of the model that was trained."""
    return float(judged(root)["mrr"])
