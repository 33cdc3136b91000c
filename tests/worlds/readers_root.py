"""A root in which a reader types what the pages say: small logs, the demo's configs made small, and their runs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from demo_world import WorldParameters, generate
from pipeline.cli import main
from tests.worlds.pages import BLOCK, CONFIGS, REPOSITORY

MODEL = {"epochs": 1, "dimension": 8, "workers": 1, "edge_chunks": 1}
RANKER = {"bootstrap": 20, "training": {"epochs": 1, "seeds": [0], "batch_size": 1024}}
DAY = 1_769_472_000_000  # 2026-01-27 UTC, in ms
ROWS = 600


def make_readers_root(root: Path) -> None:
    """Everything below `root`, by the commands that a reader has typed before."""
    generate(root / "data/demo", WorldParameters(users=600, impressions=24_000, days=30, seed=1), None, 1)
    write_config(root, "demo", {"model": MODEL})
    write_config(root, "demo_rank", {"model": MODEL, "ranker": RANKER})
    for config in CONFIGS:
        if not (root / "configs" / config.name).exists():
            shutil.copy(config, root / "configs")
    write_logs(root)
    mine = root / "configs/readme.json"
    mine.write_text(next(text for language, text in BLOCK.findall((REPOSITORY / "README.md").read_text()) if language))
    own = {"extends": "readme.json", "graph": {"write_names": True}, "model": {"epochs": 1}}
    (root / "configs/mine.json").write_text(json.dumps(own))
    for words in (["demo"], ["demo_rank"], ["mine", "--set", "model.seed=1"], ["mine"]):
        assert transra(root, "run", f"{root}/configs/{words[0]}.json", *words[1:], "--quiet") == 0
    impressions = pq.read_table(root / "data/demo/impressions")
    for name in ("new.parquet", "new_rows.parquet"):
        pq.write_table(impressions.slice(0, 50), root / name)


def transra(root: Path, *words: str) -> int:
    """The exit code of a command whose paths start at `root`."""
    return main([*words, "--root", str(root)])


def write_config(root: Path, name: str, changes: dict[str, object]) -> None:
    """One of the checkout's configs with less to train."""
    (root / "configs").mkdir(exist_ok=True)
    config = {"extends": str(REPOSITORY / f"configs/{name}.json"), **changes}
    (root / f"configs/{name}.json").write_text(json.dumps(config))


def write_logs(root: Path) -> None:
    """The log that README's config reads, three days of it, and events that came since."""
    draws = np.random.default_rng(0)
    users, ads = draws.integers(0, 40, ROWS), draws.integers(0, 15, ROWS)
    (root / "logs/ads").mkdir(parents=True)
    for path, seen in ((root / "logs/ads/a.parquet", "u"), (root / "EVENTS.parquet", "new")):
        columns = {
            "ts": DAY + np.sort(draws.integers(0, 3 * 86_400_000, ROWS)),
            "action": ["click"] * ROWS,
            "user_id": [f"{seen}{user}" for user in users],
            "ad_id": [f"a{ad}" for ad in ads],
            "advertiser_id": [f"b{ad % 4}" for ad in ads],
        }
        pq.write_table(pa.table(columns), path)
    csv.write_csv(pa.table(columns), root / "shop.csv")
