"""DuckDB within a memory limit, spilling below one directory; its errors become ours."""

import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from artifacts.errors import DataError, ResourceError
from artifacts.exhausted import exhausted, first_line, is_full

_CSV_LINE = re.compile(r"CSV Error on Line: (\d+)")
_CSV_FILE = re.compile(r"^\s*file = (.+)$", re.MULTILINE)
# What Python, numpy batches and DuckDB's own blind spots need beside DuckDB's memory_limit: measured.
_OVERHEAD_BYTES = 300_000_000


class Engine:
    """A DuckDB connection. Every error of a query is raised as DataError or ResourceError.

    `memory` is the whole build's, at least `LEAST_MEMORY` (`Plan.require` sees to it).
    """

    def __init__(self, spill: Path, memory: int, threads: int) -> None:
        limit = int(memory * 0.9) - _OVERHEAD_BYTES
        self.connection = duckdb.connect()
        self.run("SET TimeZone = 'UTC'")
        self.run("SET enable_progress_bar = false")  # it would go to stdout
        self.run(f"SET threads = {threads}")
        self.run(f"SET memory_limit = '{limit // 1000} KB'")
        self.run(f"SET temp_directory = {literal(str(spill))}")

    def run(self, sql: str) -> None:
        with translated():
            self.connection.execute(sql)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows of a small result."""
        with translated():
            return self.connection.execute(sql).fetchall()

    def row(self, sql: str) -> tuple[Any, ...]:
        """The only row of a result."""
        return self.rows(sql)[0]

    def columns(self, sql: str) -> dict[str, str]:
        """Columns of a query and their types."""
        return {row[0]: row[1] for row in self.rows(f"DESCRIBE {sql}")}

    def batches(self, sql: str, rows: int) -> Generator[pa.RecordBatch, None, None]:
        """Streams a large result, about `rows` at a time. No other query can run before it is exhausted or closed."""
        with translated(), self.connection.sql(sql).to_arrow_reader(rows) as reader:
            yield from reader

    def close(self) -> None:
        self.connection.close()


def literal(value: str | list[str]) -> str:
    """SQL text of a string or of a list of strings."""
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    return "'" + value.replace("'", "''") + "'"


def quoted(name: str) -> str:
    """SQL text of a column name."""
    return '"' + name.replace('"', '""') + '"'


def text(column: str) -> str:
    """SQL of a column's value as text: how ids and names of relations are compared."""
    return f"CAST({quoted(column)} AS VARCHAR)"


@contextmanager
def translated() -> Iterator[None]:
    """Raises DuckDB's and the disk's errors as DataError (with file and line) or ResourceError."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise ResourceError(
            f"graph.memory_limit: DuckDB needs more memory or disk to spill ({first_line(error)})"
        ) from error
    except duckdb.Error as error:
        if is_full(error):
            raise ResourceError(f"the disk is full ({first_line(error)})") from error
        raise DataError(_readable(error)) from error
    except (OSError, RuntimeError) as error:  # h5py has both
        if str(error) == "Query interrupted":  # what DuckDB makes of an exception in a signal handler
            raise KeyboardInterrupt from error
        if ours := exhausted(error):
            raise ours from error
        raise


def _readable(error: duckdb.Error) -> str:
    text = str(error)
    line, file = _CSV_LINE.search(text), _CSV_FILE.search(text)
    if not (line and file):
        return " ".join(re.split(r"\n\n|\n *Potential Fixes|\nLINE", text)[0].split())
    reason = next((part for part in text.splitlines() if part.startswith("Error")), text.splitlines()[2])
    return f"{file.group(1)}, line {line.group(1)}: {reason}"
