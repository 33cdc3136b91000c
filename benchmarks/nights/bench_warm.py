"""Warm nights beside cold ones: the demo world day by day, each night judged by the clicks of the day that follows.

    python -m benchmarks.nights.bench_warm DIR [NIGHTS [USERS]]

makes a demo world of 3000 users in DIR, a tenth of the default one, of whom every fifth joins on one of the nights, and
trains each of the last nights cold for EPOCHS, cold for a third of them, warm for a third of them (the first night
cold, for all), and warm with new entities at random. Before each warm night `transra infer` has the events of its new
users. Then a ranker is trained on the vectors of the last night but one, and judged on those of the last. Prints tables
and writes benchmarks/out/warm.json.
"""

import json
import os
import sys
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from artifacts.embeddings import Embeddings, hash_ids
from benchmarks.environment import REPOSITORY
from benchmarks.nights.warm_ranker import aucs
from demo_world import WorldParameters, generate
from pbg_transra.start import from_run
from pipeline.cli import main
from pipeline.workspace.workspace import Workspace

OUT = REPOSITORY / "benchmarks" / "out" / "warm.json"
EPOCHS, THIRD = 6, 2
WARM, RANDOM = "warm, a third", "warm, new ones at random"
KINDS: dict[str, tuple[int, bool]] = {
    "cold": (EPOCHS, False),
    "cold, a third": (THIRD, False),
    WARM: (THIRD, True),
    RANDOM: (THIRD, True),
}
JOINING = 5  # one user of so many joins on one of the nights
CLICKS = ("click", "long_click", "save")


class Night:
    """A night: what is in the tables by then, and the clicks of the new users on the day that follows."""

    def __init__(self, world: Path, root: Path, test_from: datetime, number: int, nights: int) -> None:
        self.root, self._number, self._nights = root, number, nights
        self.test_from, self.trained_until = test_from, test_from - timedelta(hours=6)
        self._engagements: list[pa.Table] = []
        for path in (world / "data/demo").rglob("*.parquet"):
            table = self._until(pq.read_table(path), (test_from + timedelta(days=1)).timestamp())
            there = root / "data/demo" / path.relative_to(world / "data/demo")
            there.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, there)
            if path.parent.name == "engagements":
                self._engagements.append(table)

    def _until(self, table: pa.Table, end: float) -> pa.Table:
        """Rows before a time, without those of users who have not joined by the night."""
        if "ts" not in table.column_names or "clicks" in table.column_names:
            return table
        if "position" in table.column_names:  # the ranker's log comes after all nights
            return table
        table = table.filter(pc.less(table["ts"], int(end)))
        joins = self._joins(table["user_id"]) if "user_id" in table.column_names else np.zeros(len(table))
        return table.filter(pa.array(joins <= self._number))

    def _joins(self, users: pa.ChunkedArray) -> np.ndarray:
        """The night that each user joins on, (N,); 0: was always there."""
        draws = hash_ids(users.combine_chunks().cast(pa.large_string())) // np.uint64(7)
        later = (draws // JOINING) % np.uint64(self._nights - 1) + 1
        return np.where(draws % JOINING == 0, later, 0).astype(np.int64)

    def engagements(self, first: datetime, last: datetime) -> pa.Table:
        table = pa.concat_tables(self._engagements)
        ts = table["ts"]
        return table.filter(pc.and_(pc.greater_equal(ts, int(first.timestamp())), pc.less(ts, int(last.timestamp()))))

    def new_events(self) -> pa.Table:
        """What is to be inferred from: training events of users who join on this night."""
        table = self.engagements(self.test_from - timedelta(days=90), self.trained_until)
        return table.filter(pa.array(self._joins(table["user_id"]) == self._number))

    def judging(self) -> tuple[list[str], list[str]]:
        """Users who joined on this night, and pins that they click on the day that follows, pair by pair."""
        table = self.engagements(self.test_from, self.test_from + timedelta(days=1))
        chosen = np.isin(table["action"].to_pylist(), CLICKS) & (self._joins(table["user_id"]) == self._number)
        table = table.filter(pa.array(chosen))
        return table["user_id"].to_pylist(), table["pin_id"].to_pylist()

    def make(self, kind: str) -> dict[str, Any]:
        """Trains and judges; returns the numbers."""
        epochs, warm = KINDS[kind]
        settings = {
            "model.epochs": EPOCHS if warm and self._number == 0 else epochs,
            "model.warm_start": "latest" if warm else "null",
            "model.workers": 1,
            "graph.partitions": 1,
            "graph.split.time.valid_from": self.trained_until.strftime("%Y-%m-%d %H:%M"),
            "graph.split.time.test_from": self.test_from.strftime("%Y-%m-%d %H:%M"),
        }
        given = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        given += ["--root", str(self.root), "--workspace", str(workspace(self.root, kind))]
        at_random = patch.object(from_run._Start, "new", lambda *arguments: 0)  # where their edges do not put them
        said = transra("partition", "--quiet", *given)
        before = os.times()
        with at_random if kind == RANDOM else patch.dict({}):
            said = said or transra("train", "--quiet", *given)
        after = os.times()
        said = said or transra("run", "--until", "export", "--quiet", *given)
        if said:
            raise SystemExit(said)
        latest = Workspace(workspace(self.root, kind)).latest
        assert latest is not None
        seconds = sum(after[:4]) - sum(before[:4])
        return {**numbers(latest.metrics()), "cpu_seconds": seconds, "new_mrr": self.new_mrr(kind)}

    def new_mrr(self, kind: str, inferred: Mapping[str, np.ndarray] | None = None) -> float | None:
        """Of the new users' clicks, among all pins, by the inner product of vectors."""
        found = Embeddings.open(workspace(self.root, kind) / "latest")
        users, pins = self.judging()
        rows = found.rows("pin", pins)
        table, trained = found.vectors("pin"), found.trained("pin")
        if inferred is None:
            at = found.rows("user", users)
            pairs = [(found.vectors("user")[u], p) for u, p in zip(at, rows, strict=True) if u >= 0 and p >= 0]
        else:
            pairs = [(inferred[u], p) for u, p in zip(users, rows, strict=True) if u in inferred and p >= 0]
        ranks = [1 + int((scores[trained] > scores[p]).sum()) for u, p in pairs if len(scores := table @ u)]
        return float(np.mean(1 / np.array(ranks))) if ranks else None

    def infer(self) -> dict[str, np.ndarray]:
        """Vectors of the new users by the run of the night before, from their events alone."""
        events, out = self.root / "events.parquet", self.root / "inferred.parquet"
        pq.write_table(self.new_events(), events)
        where = ["--root", str(self.root), "--workspace", str(workspace(self.root, WARM))]
        if code := transra("infer", str(events), str(out), "--quiet", *where):
            raise SystemExit(code)
        table = pq.read_table(out)
        return dict(zip(table["id"].to_pylist(), np.array(table["vector"].to_pylist()), strict=True))


def workspace(root: Path, kind: str) -> Path:
    return root / "runs" / kind.replace(", ", "-").replace(" ", "-")


def transra(command: str, *words: str) -> int:
    return main([command, str(REPOSITORY / "configs/demo.json"), *words])


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


def of_inferred(night: Night, inferred: Mapping[str, np.ndarray], before: Embeddings) -> dict[str, Any]:
    """How inferred vectors compare with those that training gave the same users, and with random ones."""
    after = Embeddings.open(workspace(night.root, WARM) / "latest")
    rows = dict(zip(inferred, after.rows("user", list(inferred)), strict=True))
    cosines = [cosine(vector, after.vectors("user")[rows[id]]) for id, vector in inferred.items() if rows[id] >= 0]
    drawn = dict(zip(inferred, np.random.default_rng(0).normal(size=(len(inferred), before.dimension)), strict=True))
    return {
        "users": len(inferred),
        "clicks": len(night.judging()[0]),
        "cosine": float(np.mean(cosines)),
        "mrr_inferred": night.new_mrr(WARM, inferred),
        "mrr_random": night.new_mrr(WARM, drawn),
    }


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def run(directory: Path, nights: int, users: int) -> dict[str, Any]:
    world, root = directory / "world", directory / "root"
    if not world.exists():
        parameters = WorldParameters(users=users, impressions=20 * users, days=30, seed=1)
        generate(world / "data/demo", parameters, None)
    logs = (world / "data/demo/engagements").glob("*.parquet")
    newest = max(pc.max(pq.read_table(path)["ts"]).as_py() for path in logs)
    last = datetime.fromtimestamp(newest, timezone.utc).replace(hour=0, minute=0, second=0)
    found: dict[str, Any] = {"nights": {kind: [] for kind in KINDS}, "inferred": []}
    for number in range(nights):
        night = Night(world, root, last - timedelta(days=nights - 1 - number), number, nights)
        inferred = night.infer() if number else {}
        before = Embeddings.open(workspace(root, WARM) / "latest") if number else None
        for kind in KINDS:
            found["nights"][kind].append(night.make(kind))
            told = {key: value and round(value, 4) for key, value in found["nights"][kind][-1].items()}
            print(night.test_from.date(), kind, told, flush=True)
        if before is not None and inferred:
            found["inferred"].append(of_inferred(night, inferred, before))
            print(night.test_from.date(), "inferred", found["inferred"][-1], flush=True)
        write(found)
    for kind in ("cold", WARM):
        yesterday, today = sorted(workspace(root, kind).glob("2*"))[-2:]
        found.setdefault("ranker", {})[kind] = aucs(REPOSITORY / "configs/demo_rank.json", root, yesterday, today)
        print("ranker", kind, found["ranker"][kind], flush=True)
        write(found)
    return found


def write(found: Mapping[str, Any]) -> None:
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    nights, users = [*map(int, sys.argv[2:]), *(10, 3000)[len(sys.argv) - 2 :]]
    run(Path(sys.argv[1]), nights, users)
