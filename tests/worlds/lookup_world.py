"""A small shop that has run once, with a scorer that attends to a list: what people look things up in."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.worlds.night_world import transra, write_config, write_day

ROWS = 600
SIDES = {"user": {"type": "user", "column": "user"}, "pin": {"type": "pin", "column": "pin"}}
RANKER: dict[str, Any] = {
    "impressions": "impressions.parquet",
    "user": "user",
    "slots": {
        "user": {"side": "user", "type": "user"},
        "recent": {"side": "user", "type": "pin", "cap": 4},
        "pin": {"side": "ad", "type": "pin"},
    },
    "numerics": {"n": "linear"},
    "labels": {"click": "click"},
    "min_match_rate": 0,
    "arms": {"attend": {"ids": True, "vectors": "attention"}},
    "ids": {"rows": 256, "dim": 4},
    "fit": {"arm": "attend"},
}


def write_world(root: Path) -> None:
    """Clicks and the maker of each pin, in two partitions; an export; a scorer."""
    write_day(root, 0)
    write_config(root, {"operator": "transra", "anchors": ["click"]}, ranker=RANKER)
    raw = json.loads((root / "c.json").read_text())
    makers = pd.DataFrame({"pin": [f"p{pin}" for pin in range(24)], "maker": [f"m{pin % 4}" for pin in range(24)]})
    makers.to_parquet(root / "makers.parquet")
    raw["graph"]["sources"]["makers"] = {"path": "makers.parquet"}
    raw["graph"]["entities"] |= {"maker": {"partitions": 1}}
    maker = {"type": "maker", "column": "maker"}
    raw["graph"]["relations"].append(
        {"name": "made_by", "source": "makers", "domain": "side", "split": False, "lhs": SIDES["pin"], "rhs": maker}
    )
    (root / "c.json").write_text(json.dumps(raw))
    write_impressions(root)
    for stage in ("partition", "train", "export", "fit"):
        assert transra(root, stage, "--quiet") == 0


def write_impressions(root: Path) -> None:
    draw = np.random.default_rng(1)
    rows: dict[str, Any] = {
        "user": [f"u{user}" for user in draw.integers(0, 24, ROWS)],
        "pin": [f"p{pin}" for pin in draw.integers(0, 20, ROWS)],  # not the last four
        "recent": [[f"p{pin}" for pin in draw.integers(0, 24, draw.integers(0, 6))] for _ in range(ROWS)],
        "n": draw.normal(size=ROWS),
        "click": draw.integers(0, 2, ROWS),
        "ts": 1_767_225_600 + 60 * np.arange(ROWS),
    }
    pd.DataFrame(rows).to_parquet(root / "impressions.parquet")
