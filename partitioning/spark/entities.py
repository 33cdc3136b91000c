"""The entity map on Spark: distinct ids are shuffled to their partitions, and each becomes a file there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from partitioning.entities.entity_map import EntityMap
from partitioning.spark.attempts import take
from partitioning.spark.entity_files import PLACED, EntityFiles, partitions_of

if TYPE_CHECKING:
    from pyspark.sql import Column, SparkSession

    from partitioning.spark.events import SparkEvents


def map_entities(
    session: SparkSession, events: SparkEvents, previous: Path | None, spill: Path, destination: Path
) -> dict[str, EntityMap]:
    """Writes the ids of all types to the destination, those of the graph in `previous` at their offsets."""
    files = EntityFiles(events.config, previous, spill, destination)
    found = events.ends().distinct().withColumn("gone", F.lit(False))
    if events.forgotten is not None:
        found = found.unionByName(events.forgotten.withColumn("gone", F.lit(True)))
    found = found.withColumn("part", _part_of(events, F.col("type"), F.col("id")))
    every = session.createDataFrame(
        partitions_of(events.config), "type int, part int"
    )  # also one that no event has an id of
    none = every.withColumn("id", F.lit(None).cast("string")).withColumn("gone", F.lit(False))
    by_partition = found.unionByName(none).groupBy("type", "part")
    placed = by_partition.applyInArrow(lambda key, ids: files.place(key, ids), PLACED).collect()
    counts: dict[int, dict[int, tuple[int, int]]] = {}
    for row in placed:
        take(Path(row["attempt"]), destination)
        counts.setdefault(row["type"], {})[row["part"]] = (row["count"], row["previous"])
    maps = {}
    for at, type in enumerate(events.config.entities):
        of_type = [counts[at][part] for part in range(events.config.partitions_of(type))]
        maps[type] = EntityMap(type, tuple(all for all, _ in of_type), tuple(before for _, before in of_type))
    return maps


def _part_of(events: SparkEvents, type: Column, id: Column) -> Column:
    """The partition of an id, as `entities/id_table.py` has it: the last 8 bytes of its md5, little endian, modulo."""
    digits = F.md5(id.cast("binary"))
    number = F.conv(F.concat(*(F.substring(digits, at, 2) for at in range(31, 15, -2))), 16, 10)
    config = events.config
    counts = F.array(*(F.lit(config.partitions_of(name)) for name in config.entities))
    return (number.cast("decimal(20, 0)") % F.element_at(counts, type + 1)).cast("int")
