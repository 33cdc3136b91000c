"""A log of any length that is drawn, the config beside it, and the command line of a stage on both.

Ids are 64-bit integers; tails follow a Zipf law with exponent 1.3.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CHUNK = 5_000_000
ENTITIES_PER_EDGE = 0.4
DISK_PER_EDGE = 130  # log, graph and spill, with room


def write_log(directory: Path, edges: int, entities: int) -> None:
    """Files of at most CHUNK clicks: half of the entities are users, drawn evenly; the others are ads."""
    generator, side = np.random.default_rng(0), max(entities // 2, 1)
    directory.mkdir()
    for number, start in enumerate(range(0, edges, CHUNK)):
        rows = min(CHUNK, edges - start)
        users = generator.integers(0, side, rows) * 7_919
        ads = generator.zipf(1.3, rows) % side
        ads[: rows // 2] = generator.integers(0, side, rows // 2)  # else few ads would ever be seen
        columns = {"user": users, "ad": ads * 104_729, "ts": np.sort(generator.integers(0, 30 * 86_400, rows))}
        table = pa.table({name: pa.array(column) for name, column in columns.items()})
        pq.write_table(table, directory / f"part-{number:03}.parquet", row_group_size=1 << 20)


def write_config(path: Path, partitions: int, memory_limit: str, model: dict[str, Any]) -> None:
    """A config beside the log: one relation of two types."""
    user, ad = {"type": "user", "column": "user"}, {"type": "ad", "column": "ad"}
    graph = {
        "partitions": partitions,
        "memory_limit": memory_limit,
        "sources": {"log": {"path": "log/*.parquet", "time_column": "ts", "time_unit": "s"}},
        "entities": {"user": {}, "ad": {}},
        "relations": [{"name": "click", "source": "log", "lhs": user, "rhs": ad}],
    }
    path.write_text(json.dumps({"graph": graph, "model": model}))


def command(stage: str, config: Path, *options: str) -> list[str]:
    """The command line of a stage, with everything beside its config."""
    place = ["--root", str(config.parent), "--workspace", str(config.parent / "runs"), "--quiet"]
    return [sys.executable, "-m", "pipeline.cli", stage, str(config), *place, *options]
