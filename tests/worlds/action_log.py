"""A log of what few users did with few pins, with times and amounts, and a config that uses all of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

USER, PIN = {"type": "user", "column": "user"}, {"type": "pin", "column": "pin"}
SPLITS: dict[str, dict[str, Any]] = {
    "time": {"time": {"valid_from": 70, "test_from": 85}},
    "random": {"random": {"valid": 0.2, "test": 0.1}},
    "none": {},
}


def write_log(path: Path, seed: int, unit: float = 1.0) -> None:
    """Writes CSV or Parquet, as the path ends. Amounts are whole multiples of `unit`; a larger seed has more users."""
    generator = np.random.default_rng(seed)
    columns = {
        "user": generator.integers(0, 40 * seed, 300),
        "pin": generator.choice(list("abcdefghij"), 300),
        "action": generator.choice(["save", "click", "Zoom", "ärgern"], 300),
        "ts": generator.integers(0, 100, 300),
        "amount": generator.integers(1, 9, 300) * unit,
    }
    log = pd.DataFrame(columns)
    if path.suffix == ".csv":
        log.to_csv(path, index=False)
    else:
        log.to_parquet(path)


def log_config(
    pattern: str, split: dict[str, Any], source: dict[str, Any] | None = None, **click: Any
) -> dict[str, Any]:
    """A relation and its inverse, and a relation for every action, of the logs that a pattern names.

    `source` and `click` are more keys of the source and of the first relation.
    """
    log = {"path": pattern, "time_column": "ts", "time_unit": "s", **(source or {})}
    return {
        "partitions": 3,
        "memory_limit": "1GB",
        "sources": {"log": log},
        "entities": {"user": {}, "pin": {"partitions": 1}},
        "relations": [
            {"name": "saw", "source": "log", "lhs": USER, "rhs": PIN, "inverse": "seen_by", **click},
            {"relation_column": "action", "source": "log", "lhs": PIN, "rhs": USER},
        ],
        "split": split,
    }
