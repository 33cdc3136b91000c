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
# Nights that begin from the published vectors, behind a gate, and keep two runs.
WARM = (
    "--set", 'model.warm_start="latest"', "--set", "gate.edges=0.9", "--set", "gate.cosine=-0.9",
    "--set", "keep.runs=2", "--set", "keep.rejected=1",
)  # fmt: skip
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
        "fit": {"arm": "frozen"},
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
    answer: int = 0  # the exit code when nobody disturbs it
    repeated: bool = True  # whether it does the same again when it has done it already
    refusals: frozenset[int] = frozenset()  # exit codes of one that comes after another has answered 0

    def arguments(self, workspace: Path) -> list[str]:
        place = ["--root", str(self.root), "--workspace", str(workspace), "--quiet"]
        return [self.words[0], str(self.root / "night.json"), *self.words[1:], *place]


class Situations:
    """What is attacked. `run` carries a command out in a workspace, undisturbed."""

    def __init__(self, directory: Path, run: Callable[[Situation, Path], None]) -> None:
        self._directory, self._run = directory, run

    def all(self) -> list[Situation]:
        return [*self._first(), *self._nights()]

    def _root(self, name: str, days: int) -> Path:
        root = self._directory / name
        root.mkdir()
        write_log(root, range(days))
        write_impressions(root)
        write_config(root)
        return root

    def _copy(self, workspace: Path, name: str) -> Path:
        return Path(shutil.copytree(workspace, self._directory / name, symlinks=True))

    def _after(self, name: str, root: Path, workspace: Path, *words: str, answer: int = 0) -> None:
        """Carries a command out to get where an attack begins."""
        self._run(Situation(name, root, workspace, words, answer), workspace)

    def _first(self) -> list[Situation]:
        """Stage after stage of a first run, and what is made anew in it."""
        root, workspace = self._root("one", 4), self._directory / "growing"
        workspace.mkdir()
        found = []
        for stage in ("partition", "train", "evaluate", "export", "rank", "fit"):
            before = self._copy(workspace, f"before-{stage}")
            found.append(Situation(stage, root, before, ("run", "--until", stage)))
            self._run(found[-1], workspace)
        two_workers = ("train", "--set", "model.processor=reference")
        found += [
            Situation("train in PyTorch", root, self._directory / "before-train", two_workers),
            Situation("rebuild", root, workspace, ("partition", "--rebuild")),
            Situation("rank anew", root, workspace, ("rank", "--set", "ranker.training.lr=0.003")),
            Situation("evaluate anew", root, workspace, ("evaluate", "--set", "evaluate.max_edges=90")),
            Situation("purge", root, self._copy(workspace, "many"), ("purge",)),
        ]
        self._after("a rebuild", root, found[-1].before, "partition", "--rebuild")
        return found

    def _nights(self) -> list[Situation]:
        """Nights that follow others: cold, warm, rejected by the gate; and `latest` moved by hand."""
        cold, warm = self._root("two", 4), self._root("three", 4)
        first, second = self._directory / "first-night", self._directory / "warm-nights"
        for workspace in (first, second):
            workspace.mkdir()
        self._after("a night", cold, first, "run")
        self._after("a night", warm, second, "run", *WARM)
        write_log(cold, range(4, 5))
        write_log(warm, range(4, 5))
        self._after("a night", warm, second, "run", *WARM)
        rolled = self._copy(second, "rolled-back")
        rollback = Situation("rollback", warm, rolled, ("rollback", *WARM), 0, repeated=False, refusals=frozenset({2}))
        write_log(warm, range(5, 6))
        rejected = ("run", *WARM, "--set", "gate.cosine=1.0")
        refused = self._copy(second, "rejected")
        self._after("a rejected night", warm, refused, *rejected, answer=65)
        newest = Workspace(refused).runs()[0].id
        return [
            Situation("night", cold, first, ("run",)),
            Situation("warm night", warm, second, ("run", *WARM)),
            Situation("rejected night", warm, second, rejected, 65),
            Situation("promote", warm, refused, ("promote", newest, *WARM)),
            Situation("clean", warm, refused, ("clean", "--yes", *WARM, "--set", "keep.rejected=0")),
            rollback,
        ]


def facts(workspace: Path, situation: Situation) -> dict[str, str]:
    """Digests of all that the newest run holds, but for seconds and names of the run; which runs are published and
    rejected, and how many there are: a rebuild that had come through makes one more when it is repeated."""
    runs = Workspace(workspace)
    newest, number = runs.runs()[0], "any" if situation.name == "rebuild" else str(len(runs.runs()))
    latest = "none" if runs.latest is None else str([run.id for run in reversed(runs.runs())].index(runs.latest.id))
    rejected = str([index for index, run in enumerate(reversed(runs.runs())) if run.rejection() is not None])
    return {"published": latest, "runs": number, "rejected": rejected, **facts_of(newest)}


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
