"""A tiny log of impressions with latent tastes, and an export whose vectors are noisy images of them."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from artifacts.embeddings import Embeddings, EmbeddingsWriter, ExportedRelation
from artifacts.formats.graph import EntityType, Graph, Relation, save_graph
from ranker import RankerConfig
from ranker.data.log.impression_log import ImpressionLog
from ranker.data.log.windows import Windows
from ranker.data.prepare import prepare
from ranker.data.records import Summary

START = 1_767_225_600  # 2026-01-01
DAY = 86_400
DAYS = 10
USERS, PINS, CAP, DIMENSION = 400, 60, 5, 8
SLOTS = {
    "user_id": {"type": "user", "side": "user"},
    "recent": {"type": "pin", "side": "user", "cap": CAP},
    "pin_id": {"type": "pin", "side": "ad"},
    "campaign": {"side": "ad"},
}


@dataclass(frozen=True)
class SmallWorld:
    """`columns` is the log; `export` the file of vectors; `root` where relative paths start."""

    root: Path
    export: Path
    columns: dict[str, Any]

    def write(self, **changes: Any) -> None:
        """Writes the log in three files of several row groups, with some columns replaced (None: left out)."""
        columns = {name: values for name, values in {**self.columns, **changes}.items() if values is not None}
        table = pa.table(columns)
        (self.root / "log").mkdir(exist_ok=True)
        for part, first in enumerate(range(0, len(table), 4000)):
            rows = table.slice(first, 4000)
            pq.write_table(rows, self.root / "log" / f"part-{part}.parquet", row_group_size=700)


def config(**changes: Any) -> RankerConfig:
    """A config for the small world; `changes` replace whole keys."""
    values: dict[str, Any] = {
        "impressions": "log/*.parquet",
        "slots": SLOTS,
        "categoricals": ["device"],
        "numerics": {"position": "linear", "age": "quantile", "recent": "log"},
        "labels": {
            "click": "click",
            "conversion": "conversion",
            "conversion_time": "conversion_ts",
            "attribution_days": 7,
        },
        "segments": {"cold_user": {"unknown": "user_id"}, "few": {"column": "recent", "at_most": 1}},
        "ids": {"rows": 4096, "dim": 4, "lr": 0.1},
        "kge": {"lr": 0.05},
        "attention": {"width": 8, "heads": 2, "groups": 4},
        "backbone": {"hidden": [16], "cross_rank": 8, "dropout": 0.0},
        "training": {"batch_size": 128, "lr": 0.005, "buffer_rows": 8192},
        "bootstrap": 20,
    }
    found = RankerConfig(**{**values, **changes})
    assert not list(found.problems())
    return found


def small_world(root: Path, rows: int = 12_000, seed: int = 0) -> SmallWorld:
    """Clicks (about 40 %) follow taste, position, device and a campaign that only its id tells."""
    rng = np.random.default_rng(seed)
    users, pins = (unit(rng.normal(size=(count, 4))) for count in (USERS, PINS))
    campaigns = rng.normal(size=20)
    user, pin, campaign = rng.integers(0, USERS, rows), rng.integers(0, PINS, rows), rng.integers(0, 20, rows)
    position, device, age = rng.integers(1, 6, rows), rng.integers(0, 3, rows), rng.normal(40, 12, rows)
    logit = 4 * (users[user] * pins[pin]).sum(axis=1) + campaigns[campaign] - 0.3 * position + 0.5 * device - 0.3
    click = rng.random(rows) < 1 / (1 + np.exp(-logit))
    converts = rng.random(rows) < 1 / (1 + np.exp(-3 * (users[user] * pins[pin]).sum(axis=1)))
    ts = np.sort(START + rng.integers(0, DAYS * DAY, rows))
    likes = np.argsort(-(users @ pins.T), axis=1)
    columns = {
        "ts": ts,
        "user_id": [f"u{u}" for u in user],
        "pin_id": [f"p{p}" for p in pin],
        "campaign": [f"c{c}" for c in campaign],
        "recent": [[f"p{p}" for p in likes[u, : u % (CAP + 1)]] for u in user],
        "device": [("android", "ios", "web")[d] for d in device],
        "position": position,
        "age": pa.array(age, mask=rng.random(rows) < 0.1),
        "click": click.astype(np.int8),
        "conversion": (click & converts).astype(np.int8),
        "conversion_ts": pa.array(ts + 3600, mask=~(click & converts)),
    }
    export = root / "embeddings.h5"
    image = rng.normal(size=(4, DIMENSION))
    known = {"user": users[: USERS - 20] @ image, "pin": pins @ image}
    write_export(export, {name: v + 0.2 * rng.normal(size=v.shape) for name, v in known.items()})
    world = SmallWorld(root, export, columns)
    world.write()
    return world


def world_with_run(root: Path, seed: int = 0) -> SmallWorld:
    """A small one, and what `transra` would leave of its graph in `run`."""
    torch.set_num_threads(1)
    world = small_world(root, 3000, seed)
    write_run(root / "run", world.export)
    return world


def prepared(world: SmallWorld, settings: RankerConfig | None = None) -> Summary:
    """Encodes the log, with the export, into `prepared`."""
    log, directory = ImpressionLog(settings or config(), world.root), world.root / "prepared"
    return prepare(log, Windows.of(log), {"base": Embeddings(world.export)}, "key", directory, lambda text, done: None)


def poisson(rows: int) -> np.ndarray:
    return np.random.default_rng(rows).poisson(5, (rows, 1))


def write_export(
    path: Path,
    vectors: dict[str, np.ndarray],
    degrees: Callable[[int], np.ndarray] = poisson,
    **attributes: Any,
) -> None:
    """An export of entities u0, u1, ... and p0, p1, ... with the given vectors (N, D) and degrees (N, 1)."""
    values = {"anchors": ["click"], "operator": "transra", "dimension": DIMENSION, "similarity": "cos", "scale": 20.0}
    values |= {"config_hash": "0", "run_id": "20260101-small", "metrics": {}} | attributes
    with EmbeddingsWriter(path, values) as writer:
        for name, rows in vectors.items():
            ids = pa.array([f"{name[0]}{index}" for index in range(len(rows))], pa.large_string())
            side = "lhs" if name == "user" else "rhs"
            width = sum(len(one) for one in ids.to_pylist())
            entities = writer.entities(name, len(rows), width, "float32", (f"click:{side}",))
            entities.append(ids, rows.astype(np.float32), degrees(len(rows)))
            entities.finish()
        click = ExportedRelation("click", "user", "pin", "transra", {"translation": np.full(DIMENSION, 0.1)})
        turn = np.linalg.qr(np.random.default_rng(0).normal(size=(DIMENSION, DIMENSION)))[0]
        visit = ExportedRelation("visit", "user", "pin", "transra", {**click.parameters, "projection": turn})
        owns = ExportedRelation("owns", "pin", "user", "transra", {})
        for index, relation in enumerate((click, visit, owns)):
            writer.relation(index, relation)


def write_run(run: Path, export: Path) -> Path:
    """A run as `transra` would leave it around an export of the small world; its graph ends before the log."""
    (run / "graph").mkdir(parents=True)
    (run / "export").mkdir()
    shutil.copy(export, run / "export" / "embeddings.h5")
    types = (EntityType("user", (USERS - 20,)), EntityType("pin", (PINS,)))
    sides = {"click": ("user", "pin"), "visit": ("user", "pin"), "owns": ("pin", "user")}
    relations = tuple(Relation(name, lhs, rhs, "onsite", {}) for name, (lhs, rhs) in sides.items())
    save_graph(run / "graph", Graph(types, relations, {}, (START - 30 * DAY, START - 1)))
    return run


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
