"""The requests of a simulation for models of others: candidates as a Parquet file, and its scores read back."""

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.errors import ConfigError, DataError
from artifacts.files.publish import require_replaceable
from demo_world.auctions.requests import CANDIDATES
from demo_world.sampling import Doubles

SCORE = "score"


def write_candidates(path: Path, tables: Iterable[pa.Table], without: Iterable[str]) -> int:
    """Writes tables of candidates (R * C,) with the numbers of `request` and `candidate`, and without labels.

    Returns how many rows were written.
    """
    hidden, rows = set(without), 0
    with aside(path) as partial, ExitStack() as stack:
        writer = None
        for table in tables:
            places = rows + np.arange(len(table))
            columns = {"request": places // CANDIDATES, "candidate": places % CANDIDATES}
            columns |= {name: table[name] for name in table.column_names if name not in hidden}
            found = pa.table(columns)
            writer = writer or stack.enter_context(pq.ParquetWriter(partial, found.schema))
            writer.write_table(found)
            rows += len(found)
    return rows


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its place when the block ends without an error.

    Raises ResourceError where `path` is no file.
    """
    require_replaceable(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_scores(name: str, path: Path, requests: int) -> Doubles:
    """Predicted click rates (N, C) of every candidate, up to a common factor.

    Raises ConfigError for a file that is missing, DataError for one that is not of these requests or without a score.
    """
    if not path.is_file():
        raise ConfigError(f"--scores {name}={path}: no such file")
    try:
        table = pq.read_table(path, columns=["request", "candidate", SCORE])
        numbers = [table[one].cast(pa.int64()).to_numpy() for one in ("request", "candidate")]
        scores = table[SCORE].cast(pa.float64()).to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, KeyError) as error:
        columns = f"Parquet with numbers in request, candidate and {SCORE}"
        raise DataError(f"{path}: expected {columns} ({str(error).splitlines()[0]})") from error
    places = np.arange(requests * CANDIDATES)
    expected = (places // CANDIDATES, places % CANDIDATES)
    if not all(np.array_equal(found, wanted) for found, wanted in zip(numbers, expected, strict=True)):
        raise DataError(f"{path}: expected the {len(places):,} rows of --candidates of {requests:,} requests, in order")
    wrong = ~(np.isfinite(scores) & (scores > 0))
    if wrong.any():
        at = int(np.argmax(wrong))
        raise DataError(f"{path}: row {at}: {SCORE} is {scores[at]}, expected a predicted click rate above 0")
    return np.asarray(scores).reshape(requests, CANDIDATES)
