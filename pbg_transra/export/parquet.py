"""An export as Parquet: one file for each entity type."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pbg_transra.export.blocks import Block


@contextmanager
def parquet_file(path: Path, dimension: int) -> Iterator[Callable[[Block], None]]:
    """Yields what appends a block to a Parquet file of `id` (string) and `vector` (D floats)."""
    schema = pa.schema([("id", pa.string()), ("vector", pa.list_(pa.float32(), dimension))])

    def append(block: Block) -> None:
        flat = pa.array(block.vectors.astype(np.float32, copy=False).ravel())
        vectors = pa.FixedSizeListArray.from_arrays(flat, type=schema.field("vector").type)
        writer.write_table(pa.table([block.ids.cast(pa.string()), vectors], schema=schema))

    # vectors neither compress nor repeat
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        yield append
