"""A shop whose ids, labels and relations' names try to get out of a page: markup, directions, control characters."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from artifacts.files.publish import write_json
from pipeline.workspace.workspace import Run

HOSTILE = (
    "</script><script>window.broken=1</script>",
    "<img src=x onerror=window.broken=1>",
    '"><svg onload=window.broken=1>',
    "<!--<script>",
    "{{window.broken=1}} ${window.broken=1} @{x}{safe}",
    "שלום\u202eעולם",
    "👩‍👩‍👧 emoji",
    "line\nbreak\ttab\x07bell",
    "&lt;b&gt; & 'quotes'",
    "long-" * 2000,
)
GROUPS, PINS, USERS = 4, 40, 36  # so few that all are among the examples


def write_world(root: Path, seed: int = 0, **sections: Any) -> None:
    """Users like the pins of their own group; one relation for each hostile name."""
    draw = np.random.default_rng(seed)
    users = draw.integers(0, USERS, 3000)
    pins = draw.integers(0, PINS // GROUPS, 3000) * GROUPS + users % GROUPS
    names = {**dict(enumerate(HOSTILE)), **{i: f"u{i}" for i in range(len(HOSTILE), USERS)}}
    kinds = ["click", *(name[:200] for name in HOSTILE if "\n" not in name)]
    frame = pd.DataFrame(
        {
            "user": [names[user] for user in users],
            "pin": [f"p{pin}" for pin in pins],
            "kind": [kinds[kind] for kind in draw.integers(0, len(kinds), 3000)],
        }
    )
    (root / "log").mkdir(exist_ok=True)
    frame.to_parquet(root / "log" / "day.parquet")
    titles = [f"titled {HOSTILE[pin % len(HOSTILE)]}" for pin in range(PINS)]
    pd.DataFrame({"pin": [f"p{pin}" for pin in range(PINS)], "title": titles}).to_parquet(root / "titles.parquet")
    ends = {side: {"type": name, "column": name} for side, name in (("lhs", "user"), ("rhs", "pin"))}
    graph = {
        "partitions": 2,
        "sources": {"log": {"path": "log/*.parquet"}, "titles": {"path": "titles.parquet"}},
        "entities": {"user": {}, "pin": {"label": {"source": "titles", "column": "pin", "text": "title"}}},
        "relations": [{"relation_column": "kind", "source": "log", **ends}],
        "split": {"random": {"valid": 0.1, "test": 0.2}},
    }
    model = {"operator": "transr", "dimension": 8, "epochs": 2, "workers": 1, "batch_size": 100, "validate_every": 1}
    (root / "c.json").write_text(json.dumps({"graph": graph, "model": model, **sections}))


def add_ranking(run: Run) -> None:
    """Gives a run the record of a ranking that was never made."""
    record = json.loads((run.directory("export") / "stage.json").read_text())
    arms = {name: {"parameters": {"network": 10}, "ctr": _task(0.6 + 0.05 * i)} for i, name in enumerate(HOSTILE[:3])}
    attended = {"context": {HOSTILE[4]: 0.4, HOSTILE[1]: 0.6}, "lists": {HOSTILE[4]: {"rows": 3, "empty": 0.2}}}
    attended["lists"][HOSTILE[4]]["places"] = [0.5, 0.2, 0.1]
    arms[HOSTILE[2]]["attention"] = attended
    comparisons = [
        {
            "arm": arm,
            "baseline": HOSTILE[0],
            "segment": segment,
            "metric": "auc",
            "difference": 0.01,
            "interval": [0, 0.02],
        }
        for arm in HOSTILE[1:3]
        for segment in ("all", HOSTILE[3])
    ]
    match = {"traffic": 1.0, "ids": 0.5, "distinct": 3, "rows_without_id": 0.0}
    metrics = {
        "arms": arms,
        "comparisons": {"ctr": comparisons},
        "rows": {split: {"rows": 100} for split in ("train", "valid", "test")},
        "match_rates": {run.id: {HOSTILE[4]: match}},
        "seconds": 1.0,
        "peak_rss_bytes": 1 << 20,
    }
    run.directory("rank").mkdir()
    write_json(run.directory("rank") / "stage.json", {**record, "stage": "rank", "metrics": metrics})


def _task(auc: float) -> dict[str, Any]:
    values = {"auc": auc, "gauc": auc, "logloss": 0.3, "ne": 0.9, "calibration": 1.0}
    deciles = [{"predicted": i / 10, "observed": i / 11, "rows": 10} for i in range(1, 11)]
    return {
        **values,
        "intervals": {name: [value - 0.02, value + 0.02] for name, value in values.items()},
        "seeds": {"0": {**values, "calibration_deciles": deciles}},
        "segments": {},
    }
