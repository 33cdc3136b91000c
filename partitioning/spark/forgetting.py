"""The list of ids to forget: the driver reads it, and Spark looks for its ids in events and in the previous graph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark.sql import functions as F

from artifacts.expressions.engine import Engine
from artifacts.formats.graph import load_graph
from partitioning.config.sections import GraphConfig
from partitioning.entities.forgotten import THERE, forgotten_counts, refuse_mistaken
from partitioning.events.forget import TABLE, read_forgotten
from partitioning.ledger.continuation import Continuation
from partitioning.sources.table import Source, open_sources
from partitioning.spark.entity_files import Places, places

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def read_list(
    session: SparkSession, engine: Engine, config: GraphConfig, continuation: Continuation
) -> ForgottenIds | None:
    """The list of a config; None where it names none. Raises DataError for a list that is not as the config says."""
    if config.forget is None:
        return None
    files = {name: files if name == config.forget.source else {} for name, files in continuation.files.items()}
    sources = open_sources(engine, config, files, {}, {})
    read_forgotten(engine, config, sources)
    types = list(config.entities)
    rows = [(types.index(type), id) for type, id in engine.rows(f"SELECT type, id FROM {TABLE}")]
    return ForgottenIds(session, engine, config, sources, session.createDataFrame(rows, "type int, id string"))


@dataclass(frozen=True)
class ForgottenIds:
    """The ids to forget, (type, id) with types by position: as `listed` on Spark, and as a table on the driver."""

    session: SparkSession
    engine: Engine
    config: GraphConfig
    sources: dict[str, Source]
    listed: DataFrame

    def match(self, ends: DataFrame, previous: Path | None) -> dict[str, dict[str, int]]:
        """How many are there and how many are not, by type, given (type, id) of the ends of all events.

        Raises DataError for an id that cannot be meant as it stands.
        """
        there = ends if previous is None else ends.unionByName(self._published(previous))
        types = list(self.config.entities)
        found = there.join(self.listed.select("id").distinct(), "id", "left_semi").distinct().collect()
        columns = {"type": [types[row["type"]] for row in found], "id": [row["id"] for row in found]}
        self.engine.connection.register("found", pa.table({n: pa.array(c, pa.string()) for n, c in columns.items()}))
        self.engine.run(f"CREATE TEMP TABLE {THERE} AS SELECT * FROM found")

        def share_ids(type: str, other: str) -> bool:
            one, two = (ends.where(F.col("type") == types.index(name)).select("id") for name in (type, other))
            return bool(one.join(two, "id", "left_semi").limit(1).collect())

        refuse_mistaken(self.engine, self.config, self.sources, share_ids)
        return forgotten_counts(self.engine)

    def _published(self, previous: Path) -> DataFrame:
        graph, types = load_graph(previous), list(self.config.entities)
        known = [(types.index(one.name), one.partitions) for one in graph.entity_types if one.name in types]
        partitions = [(at, part) for at, count in known for part in range(count)]
        read = Places(previous, types, partitions, self.config.memory_bytes)
        return places(self.session, read).select("type", "id")
