"""Warm nights beside cold ones: the demo world day by day, each night judged by the clicks of the day that follows.

    python -m benchmarks.bench_warm DIR [NIGHTS [USERS]]

makes a demo world of 3000 users in DIR, a tenth of the default one, and trains each of the last nights cold for EPOCHS,
cold for a third of them, and warm for a third of them (the first night cold, for all). Prints a table and writes
benchmarks/out/warm.json.
"""

import json
import sys
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from demo_world import WorldParameters, generate
from pipeline.cli import main
from pipeline.workspace.workspace import Workspace

REPOSITORY = Path(__file__).resolve().parents[1]
OUT = REPOSITORY / "benchmarks" / "out" / "warm.json"
EPOCHS, THIRD = 6, 2
KINDS: dict[str, tuple[int, bool]] = {
    "cold": (EPOCHS, False),
    "cold, a third": (THIRD, False),
    "warm, a third": (THIRD, True),
}


def write_until(world: Path, root: Path, end: float) -> None:
    """The world's tables as they were at a time, epoch seconds."""
    for path in (world / "data/demo").rglob("*.parquet"):
        table = pq.read_table(path)
        if "ts" in table.column_names:
            table = table.filter(pc.less(table["ts"], int(end)))
        there = root / "data/demo" / path.relative_to(world / "data/demo")
        there.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, there)


def night(root: Path, kind: str, first: bool, test_from: datetime) -> dict[str, Any]:
    """Trains and judges one night; returns its numbers."""
    epochs, warm = KINDS[kind]
    workspace = root / "runs" / kind.replace(", ", "-").replace(" ", "-")
    settings = {
        "model.epochs": EPOCHS if warm and first else epochs,
        "model.warm_start": "latest" if warm else "null",
        "model.workers": 1,
        "graph.partitions": 1,
        "graph.split.time.valid_from": (test_from - timedelta(hours=6)).strftime("%Y-%m-%d %H:%M"),
        "graph.split.time.test_from": test_from.strftime("%Y-%m-%d %H:%M"),
    }
    given = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    config, where = str(REPOSITORY / "configs/demo.json"), ["--root", str(root), "--workspace", str(workspace)]
    code = main(["run", config, "--until", "export", "--quiet", *where, *given])
    if code:
        raise SystemExit(code)
    latest = Workspace(workspace).latest
    assert latest is not None
    return numbers(latest.metrics())


def numbers(metrics: Mapping[str, Any]) -> dict[str, Any]:
    pair, stability = metrics["evaluate"]["anchor_retrieval"]["pairs"]["user->pin"], metrics["export"]["stability"]
    users = stability["types"]["user"] if stability else {}
    return {
        "mrr": metrics["evaluate"]["mrr"],
        "recall": pair["recall@10"],
        "train_seconds": metrics["train"]["seconds"],
        "cosine": users.get("cosine"),
        "overlap": users.get("overlap"),
    }


def run(directory: Path, nights: int, users: int) -> dict[str, Any]:
    world, root = directory / "world", directory / "root"
    if not world.exists():
        parameters = WorldParameters(users=users, impressions=20 * users, days=30, seed=1)
        generate(world / "data/demo", parameters, None)
    logs = (world / "data/demo/engagements").glob("*.parquet")
    newest = max(pc.max(pq.read_table(path)["ts"]).as_py() for path in logs)
    last = datetime.fromtimestamp(newest, timezone.utc).replace(hour=0, minute=0, second=0)
    found: dict[str, Any] = {kind: [] for kind in KINDS}
    for number in range(nights):
        test_from = last - timedelta(days=nights - 1 - number)
        write_until(world, root, (test_from + timedelta(days=1)).timestamp())
        for kind in KINDS:
            found[kind].append(night(root, kind, number == 0, test_from))
            print(test_from.date(), kind, {k: v and round(v, 4) for k, v in found[kind][-1].items()}, flush=True)
    return found


if __name__ == "__main__":
    nights, users = [*map(int, sys.argv[2:]), *(5, 3000)[len(sys.argv) - 2 :]]
    outcome = run(Path(sys.argv[1]), nights, users)
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(outcome, indent=2) + "\n")
