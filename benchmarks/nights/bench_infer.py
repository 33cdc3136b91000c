"""How fast `transra infer` is: 100,000 new users of ten events each, at d=64, end to end and the closed form alone.

    python -m benchmarks.nights.bench_infer DIR [USERS]

publishes a small graph in DIR (20,000 users and 5,000 pins, a training of one epoch) with anchors alone, and with a
relation that has a projection beside them, and infers. Prints processor seconds and wall seconds.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.environment import save, surroundings
from partitioning import build_graph, events_config
from pbg_transra import ModelConfig, PublishedModel, infer_entities
from pipeline.cli import main
from pipeline.config.loading import load_config
from pipeline.workspace.workspace import Workspace

KNOWN, PINS, EVENTS = 20_000, 5_000, 10  # users, pins, events of a user
ANCHORS = {"anchors alone": ("click", "save"), "a projection beside an anchor": ("click",)}


def write_events(path: Path, first: int, users: int) -> None:
    """Events of users from number `first` on."""
    draw = np.random.default_rng(first)
    user = np.repeat(np.arange(first, first + users), EVENTS)
    pin, action = draw.integers(0, PINS, len(user)), draw.random(len(user)) < 0.7
    columns = {"user": [f"u{one}" for one in user], "pin": [f"p{one}" for one in pin]}
    columns["action"] = np.where(action, "click", "save").tolist()
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def write_config(path: Path, anchors: tuple[str, ...]) -> None:
    sides: dict[str, Any] = {"lhs": {"type": "user", "column": "user"}, "rhs": {"type": "pin", "column": "pin"}}
    kinds = [{"name": name, "source": "log", "where": f"action = '{name}'", **sides} for name in ("click", "save")]
    graph = {"sources": {"log": {"path": "log.parquet"}}, "entities": {"user": {}, "pin": {}}, "relations": kinds}
    model = {"operator": "transra", "anchors": anchors, "dimension": 64, "epochs": 1, "workers": 1}
    path.write_text(json.dumps({"graph": graph, "model": model}))


def timed(call: Callable[[], Any]) -> dict[str, float]:
    """Seconds of the clock, and of processors, that a call takes."""
    wall, processor = time.perf_counter(), time.process_time()
    call()
    return {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - processor}


def measured(directory: Path, name: str, users: int) -> dict[str, Any]:
    root = directory / name.replace(" ", "-")
    root.mkdir(parents=True, exist_ok=True)
    config, events = root / "c.json", root / "events.parquet"
    write_config(config, ANCHORS[name])
    write_events(root / "log.parquet", 0, KNOWN)
    write_events(events, KNOWN, users)
    where = [str(config), "--root", str(root), "--quiet"]
    assert main(["run", *where, "--until", "export"]) == 0
    whole = timed(lambda: main(["infer", where[0], str(events), str(root / "out.parquet"), *where[1:]]))
    assert pq.read_metadata(root / "out.parquet").num_rows == users
    run = Workspace(root / "runs/c").latest
    assert run is not None
    record = run.record("train")
    assert record is not None
    graph = root / "graph"
    graph.mkdir(exist_ok=True)
    of_events = events_config(load_config(config, []).graph, "log", events, users * EVENTS)
    build_graph(of_events, root, graph, lambda step, done: None)
    model = ModelConfig.model_validate(record["parts"]["config"])
    published = PublishedModel(run.id, run.directory("partition"), run.directory("train"), model)
    export = run.directory("export") / "embeddings.h5"
    closed = timed(lambda: infer_entities(published, export, graph, root / "closed.parquet"))
    rates = {f"{what}_users_a_second": users / one["cpu_seconds"] for what, one in (("all", whole), ("closed", closed))}
    return {"users": users, "whole": whole, "closed_form": closed, **rates}


if __name__ == "__main__":
    users = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
    found = {name: measured(Path(sys.argv[1]), name, users) for name in ANCHORS}
    save("infer", {"surroundings": surroundings(("duckdb", "torch")), "found": found})
    print(json.dumps(found, indent=2))
