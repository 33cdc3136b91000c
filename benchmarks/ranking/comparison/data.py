"""The data sets of `make bench-rank`: their configs, and their logs at the asked size."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from artifacts.embeddings import hash_ids
from benchmarks.environment import REPOSITORY
from pipeline.config.loading import read_raw
from ranker.config.sections import RankerConfig
from ranker.data.log.block import LogBlock
from ranker.data.log.impression_log import ImpressionLog

ARMS = ("none", "frozen_concat", "attention")


@dataclass(frozen=True)
class DataSet:
    """`graph` says whether its ids are known to a graph, which `transra` then makes and trains."""

    config: str
    graph: bool = True

    @property
    def path(self) -> Path:
        return REPOSITORY / self.config


DATA_SETS = {
    "demo": DataSet("configs/demo_rank.json"),
    "demo_large": DataSet("configs/demo_large.json"),
    "globo": DataSet("configs/globo_rank.json"),
    "complete_journey": DataSet("configs/complete_journey_rank.json"),
    "criteo": DataSet("benchmarks/criteo_rank.json", graph=False),
}


def ranker_config(path: Path) -> RankerConfig:
    """The `ranker` section of a config, which need not have a graph."""
    return RankerConfig.model_validate(read_raw(path)["ranker"])


def write_config(data: DataSet, root: Path, impressions: int | None, seed: int, directory: Path) -> Path:
    """Writes the config that every model reads, of one seed and about so many impressions (null: all)."""
    section: dict[str, Any] = read_raw(data.path)["ranker"]
    section["training"] = {**section.get("training", {}), "seeds": [seed]}
    config = RankerConfig.model_validate(section)
    if impressions is not None and impressions < (rows := ImpressionLog(config, root).rows):
        section["impressions"] = str(cut_log(config, root, impressions / rows, directory / "impressions.parquet"))
    path = directory / "config.json"
    path.write_text(json.dumps({"ranker": section}, indent=2) + "\n")
    return path


def cut_log(config: RankerConfig, root: Path, share: float, path: Path) -> Path:
    """Writes the impressions of a share of the users, chosen by their ids, so that histories stay whole."""
    writer: pq.ParquetWriter | None = None
    for block in ImpressionLog(config, root).blocks():
        table = block.table.filter(pa.array(chosen_users(block, config.user, share)))
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()
    return path


def chosen_users(block: LogBlock, user: str, share: float) -> NDArray[np.bool_]:
    """Rows (N,) of about `share` of the users."""
    ids = block.cast(user, block.column(user), pa.large_string(), "ids").dictionary_encode()
    chosen = (hash_ids(ids.dictionary) >> np.uint64(32)) < share * 2.0**32
    return np.append(chosen, False)[ids.indices.fill_null(-1).to_numpy(zero_copy_only=False)]
