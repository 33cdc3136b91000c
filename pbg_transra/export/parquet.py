"""An export as Parquet: one file for each entity type, which a feature store takes as it is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.formats.graph import Graph
from pbg_transra.export.blocks import Block

TIMESTAMP = "event_timestamp"
_MOMENT = pa.timestamp("us", tz="UTC")


def event_time(graph: Graph) -> datetime:
    """When all that the vectors were learned from had happened: the last training event, or now in a graph without
    times.

    A join to events by time then finds vectors that knew nothing later.
    """
    last = graph.window[1]
    return datetime.now(timezone.utc) if last is None else datetime.fromtimestamp(last, timezone.utc)


@contextmanager
def parquet_file(path: Path, dimension: int, moment: datetime) -> Iterator[Callable[[Block], None]]:
    """Yields what appends a block to a Parquet file of `id` (string), `vector` (D floats) and `event_timestamp` (UTC),
    which is `moment` in every row."""
    schema = pa.schema([("id", pa.string()), ("vector", pa.list_(pa.float32(), dimension)), (TIMESTAMP, _MOMENT)])

    def append(block: Block) -> None:
        flat = pa.array(block.vectors.astype(np.float32, copy=False).ravel())
        vectors = pa.FixedSizeListArray.from_arrays(flat, type=schema.field("vector").type)
        times = pa.repeat(pa.scalar(moment, _MOMENT), len(block.ids))
        writer.write_table(pa.table([block.ids.cast(pa.string()), vectors, times], schema=schema))

    # vectors neither compress nor repeat
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=[TIMESTAMP]) as writer:
        yield append
