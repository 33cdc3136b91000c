"""A small world whose commands are attacked: an append-only log, impressions, and what each situation begins from."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.byte_rail import arrays_of
from pipeline.workspace.workspace import Run, Workspace

DAY, USERS, ITEMS = 86_400, 60, 40
# Figures of a run that differ from run to run, and its names.
OF_A_RUN = {"seconds", "run", "run_id", "runs", "vectors", "exports", "peak_rss_bytes", "config_hash"}


def write_log(root: Path, days: range) -> None:
    """Purchases, a file a day."""
    (root / "log").mkdir(exist_ok=True)
    for day in days:
        generator, count = np.random.default_rng(day), 400
        ts = np.sort(generator.integers(day * DAY, (day + 1) * DAY, count))
        user, item = generator.integers(0, USERS, count), generator.zipf(1.3, count) % ITEMS
        path = root / "log" / f"day-{day}.parquet"
        pq.write_table(pa.table({"user": user, "item": item, "ts": ts}), path)
        os.utime(path, (day * DAY, day * DAY))  # the ledger keeps it


def write_impressions(root: Path) -> None:
    generator, count = np.random.default_rng(0), 600
    columns = {
        "user": generator.integers(0, USERS, count),
        "item": generator.integers(0, ITEMS, count),
        "ts": np.sort(generator.integers(10 * DAY, 20 * DAY, count)),
        "position": generator.integers(1, 6, count),
        "click": generator.integers(0, 2, count),
    }
    pq.write_table(pa.table(columns), root / "impressions.parquet")


def write_config(root: Path) -> None:
    sides = {"lhs": {"type": "user", "column": "user"}, "rhs": {"type": "item", "column": "item"}}
    graph = {
        "partitions": 2,
        "sources": {"log": {"path": "log", "time_column": "ts", "time_unit": "s", "append_only": True}},
        "entities": {"user": {}, "item": {}},
        "relations": [{"name": "buy", "source": "log", **sides}],
        "split": {"time": {"valid_from": 2 * DAY, "test_from": 3 * DAY}},
    }
    model = {"anchors": ["buy"], "dimension": 16, "epochs": 4, "workers": 1, "checkpoint_seconds": 0.05}
    ranker = {
        "impressions": "impressions.parquet",
        "time_column": "ts",
        "time_unit": "s",
        "slots": {"user": {"type": "user", "side": "user"}, "item": {"type": "item", "side": "ad"}},
        "user": "user",
        "numerics": {"position": "linear"},
        "labels": {"click": "click"},
        "arms": {"none": {}, "frozen": {"vectors": "concat"}},
        "training": {"batch_size": 64},
        "ids": {"rows": 1024, "dim": 4},
        "backbone": {"hidden": [8], "cross_rank": 4},
        "bootstrap": 20,
    }
    config = {"graph": graph, "model": model, "evaluate": {"max_edges": 100}, "ranker": ranker}
    (root / "night.json").write_text(json.dumps(config))


@dataclass(frozen=True)
class Situation:
    """A command, and the workspace that it finds."""

    name: str
    root: Path
    before: Path
    words: tuple[str, ...]

    def arguments(self, workspace: Path) -> list[str]:
        place = ["--root", str(self.root), "--workspace", str(workspace), "--quiet"]
        return [self.words[0], str(self.root / "night.json"), *self.words[1:], *place]


def situations(directory: Path, run: Callable[[Situation, Path], None]) -> list[Situation]:
    """All situations. `run` carries a command out in a workspace, undisturbed."""
    one, two = directory / "one", directory / "two"
    for root in (one, two):
        root.mkdir()
        write_log(root, range(4))
        write_impressions(root)
        write_config(root)
    found, workspace = [], directory / "growing"
    workspace.mkdir()
    for stage in ("partition", "train", "evaluate", "export", "rank"):
        before = Path(shutil.copytree(workspace, directory / f"before-{stage}", symlinks=True))
        found.append(Situation(stage, one, before, ("run", "--until", stage)))
        run(found[-1], workspace)
    rebuild = Situation("rebuild", one, workspace, ("partition", "--rebuild"))
    rerank = Situation("rank anew", one, workspace, ("rank", "--set", "ranker.training.lr=0.003"))
    evaluate = Situation("evaluate anew", one, workspace, ("evaluate", "--set", "evaluate.max_edges=90"))
    many = Path(shutil.copytree(workspace, directory / "many", symlinks=True))
    run(rebuild, many)
    purge = Situation("purge", one, many, ("purge",))
    night = Situation("night", two, directory / "first-night", ("run",))
    night.before.mkdir()
    run(night, night.before)
    write_log(two, range(4, 5))
    return [*found, rebuild, rerank, evaluate, purge, night]


def facts(workspace: Path, situation: Situation) -> dict[str, str]:
    """Digests of all that the newest run holds, but for seconds and names of the run; whether it is published, and how
    many there are: a rebuild that had come through makes one more when it is repeated."""
    runs = Workspace(workspace)
    newest, number = runs.runs()[0], "any" if situation.name == "rebuild" else str(len(runs.runs()))
    return {"published": str(runs.latest == newest), "runs": number, **facts_of(newest)}


def facts_of(run: Run) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in sorted(path for path in run.path.rglob("*") if path.is_file()):
        name = str(path.relative_to(run.path))
        if path.suffix == ".h5":
            found |= {f"{name}:{key}": digest for key, digest in arrays_of(path).items()}
        elif name.startswith(("graph/", "model/")) and path.name not in ("stage.json", "config.json"):
            found[name] = sha256(path.read_bytes()).hexdigest()
    for stage in ("evaluate", "ranker"):
        for path in (run.path / stage).glob("*.json"):
            if path.name != "stage.json":
                found[f"{stage}/{path.name}"] = _digest(json.loads(path.read_text()), run)
    metrics = run.metrics()
    return found | {
        f"metrics of {name}": _digest(metrics[name], run) for name in ("evaluate", "rank") if name in metrics
    }


def _digest(value: Any, run: Run) -> str:
    return sha256(json.dumps(_scrubbed(value), sort_keys=True).replace(run.id, "RUN").encode()).hexdigest()


def _scrubbed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _scrubbed(each) for key, each in value.items() if key not in OF_A_RUN}
    return [_scrubbed(each) for each in value] if isinstance(value, list) else value
