"""What the log of impressions consists of: Parquet files, or one table in memory. Each is read a block at a time."""

import io
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.errors import DataError
from artifacts.files.intact import file_digest
from artifacts.sources.source_files import Files, Keys
from artifacts.sources.unchanged import states
from ranker.config.sections import RankerConfig
from ranker.data.log.files import impression_files
from ranker.data.log.schemas import require_same_key, types_of

FRAME = "impressions"  # what errors call the table in memory, as they call others by their files


class Part(Protocol):
    """Consecutive impressions under one name; `columns` and `types` are those of the part and of its directories."""

    name: str
    columns: list[str]
    types: dict[str, pa.DataType]

    @property
    def rows(self) -> int: ...

    def batches(self, columns: Sequence[str], rows: int) -> Iterator[pa.Table]:
        """Yields some columns of all rows in order, at most `rows` at a time."""

    def identity(self, columns: Sequence[str]) -> Any:
        """What tells these columns of this part from those of another, as JSON: what they hold, and no name or time."""


class FilePart:
    """A Parquet file, streamed row group by row group; what its directories name are columns, too.

    `state` is what the file was when it was opened.
    """

    def __init__(self, path: Path, keys: Keys) -> None:
        """Raises DataError for a file that is not whole."""
        self.name, self._path, self._keys = str(path), path, keys
        self.state = states([path])  # before its rows are counted
        try:
            with pq.ParquetFile(path) as file:
                schema, self.rows = file.schema_arrow, file.metadata.num_rows
        except (OSError, pa.ArrowInvalid) as error:
            raise DataError(f"{path}: expected a whole Parquet file ({error})") from error
        self._stored = schema.names
        self.columns = [*schema.names, *(key for key in keys if key not in schema.names)]
        self.types = {**dict.fromkeys(keys, pa.string()), **types_of(schema)}

    def batches(self, columns: Sequence[str], rows: int) -> Iterator[pa.Table]:
        """Raises DataError for a part of the file that Arrow cannot read."""
        first = 0
        for batch in self._stored_batches([name for name in columns if name in self._stored], rows):
            table = pa.Table.from_batches([batch])
            for name in (name for name in columns if name in self._keys):
                if name in self._stored:
                    require_same_key(self.name, first, name, table.column(name), self._keys[name])
                else:
                    constant = pa.scalar(self._keys[name], pa.string())
                    table = table.append_column(name, pa.repeat(constant, len(batch)))
            first += len(batch)
            yield table

    def _stored_batches(self, columns: list[str], rows: int) -> Iterator[pa.RecordBatch]:
        try:
            with pq.ParquetFile(self._path) as file:
                yield from file.iter_batches(rows, columns=columns)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{self.name}: cannot be read ({' '.join(str(error).split())})") from error

    def identity(self, columns: Sequence[str]) -> Any:
        return self._keys, file_digest(self._path)


def file_parts(config: RankerConfig, root: Path, files: Files | None = None) -> list["Part"]:
    """The log's files, looked up without `files`. Raises DataError for those that are missing or not whole."""
    return [FilePart(path, keys) for path, keys in (files or impression_files(config, root)).items()]


class FramePart:
    """A table in memory. Told from another by the bytes of the columns that are read."""

    def __init__(self, table: pa.Table) -> None:
        self.name, self.columns, self._table = FRAME, table.column_names, table
        self.types = types_of(table.schema)

    @property
    def rows(self) -> int:
        return int(self._table.num_rows)

    def batches(self, columns: Sequence[str], rows: int) -> Iterator[pa.Table]:
        selected = self._table.select(list(columns))
        for first in range(0, len(selected), rows):
            yield selected.slice(first, rows)

    def identity(self, columns: Sequence[str]) -> Any:
        selected = self._table.select(sorted(columns)).replace_schema_metadata()
        digest = _Digest()
        with pa.PythonFile(digest, "w") as sink, pa.ipc.new_stream(sink, selected.schema) as stream:
            stream.write_table(selected)
        return FRAME, digest.hexdigest()


class _Digest(io.RawIOBase):
    """A file that keeps a digest of what is written, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self._sha = sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._sha.update(data)
        return len(data)

    def hexdigest(self) -> str:
        return self._sha.hexdigest()
