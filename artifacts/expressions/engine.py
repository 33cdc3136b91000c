"""DuckDB within a memory limit, spilling below one directory; its errors become ours."""

import re
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from artifacts.errors import DataError, ResourceError, TransraError
from artifacts.machine.exhausted import exhausted, first_line, is_full
from artifacts.machine.interrupts import asked
from artifacts.sources.patterns import MAGIC

_CSV_LINE = re.compile(r"CSV Error on Line: (\d+)")
_CSV_COLUMNS = re.compile(r"Expected Number of Columns: (?P<expected>\d+) Found: (?P<found>\d+)")
_CSV_REASONS = {
    "unterminated quote": 'a quote that is not closed before the next delimiter; expected "...", with "" for a quote',
    "not utf-8 encoded": "is not UTF-8 text",
    "Maximum line size": "a line of more than 2 MB; is a quote not closed?",
    "invalid state": "quotes or ends of lines that change within the file; expected one of LF and CRLF throughout",
}
_JSON_ERROR = re.compile(
    r'(Malformed JSON|JSON transform error) in file "(?P<file>[^\n]+)",( at byte \d+)? in '
    r"(?P<unit>line|record/value) (?P<line>\d+): (?P<reason>[^\n]+)"
)
_CSV_FILE = re.compile(r"^\s*file = (.+)$", re.MULTILINE)
_VALUE_ERRORS = (duckdb.ConversionException, duckdb.OutOfRangeException)
# What Python, numpy batches and DuckDB's own blind spots need beside DuckDB's memory_limit: measured.
_OVERHEAD_BYTES = 300_000_000
MEMORY_LIMIT = "graph.memory_limit"


class NoValue(DataError):
    """An expression has no value for a row: a cast of what is no number, a product that is too large."""


class Engine:
    """A DuckDB connection. Every error of a query is raised as DataError or ResourceError.

    `memory` is that of all that is done with it, overheads included; `asks` is the config path that messages name where
    it is too little. Without a directory to `spill` to, nothing is written.
    """

    def __init__(self, spill: Path | None, memory: int, threads: int, asks: str = MEMORY_LIMIT) -> None:
        self.threads, self._asks, limit = threads, asks, int(memory * 0.9) - _OVERHEAD_BYTES
        self.connection = duckdb.connect()
        self.run("SET TimeZone = 'UTC'")
        if self._setting("enable_progress_bar"):  # it would go to stdout
            self.run("SET enable_progress_bar = false")  # refused in a notebook without ipywidgets, where it is off
        self.run(f"SET threads = {threads}")
        self.run(f"SET memory_limit = '{limit // 1000} KB'")
        self.run(f"SET temp_directory = {literal(str(spill or ''))}")

    def _setting(self, name: str) -> object:
        """The value of one of DuckDB's settings."""
        (value,) = self.connection.execute("SELECT current_setting(?)", [name]).fetchone() or (None,)
        return value

    def lock(self, files: Iterable[Path], directories: Iterable[Path]) -> None:
        """From here on only these can be read, and only `directories` written; no setting can be changed."""
        paths = [name for path in files for name in {str(path), pattern_of(path)}]
        below = [f"{name}/" for path in directories for name in {str(path), pattern_of(path)}]
        self.run(f"SET allowed_paths = {literal(paths)}")
        self.run(f"SET allowed_directories = {literal(below)}")
        self.run("SET autoinstall_known_extensions = false")
        self.run("SET autoload_known_extensions = false")
        self.run("SET enable_external_access = false")
        self.run("SET lock_configuration = true")

    def run(self, sql: str) -> None:
        with translated(self._asks):
            self.connection.execute(sql)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows of a small result."""
        with translated(self._asks):
            return self.connection.execute(sql).fetchall()

    def row(self, sql: str) -> tuple[Any, ...]:
        """The only row of a result."""
        return self.rows(sql)[0]

    def columns(self, sql: str) -> dict[str, str]:
        """Columns of a query and their types."""
        return {row[0]: row[1] for row in self.rows(f"DESCRIBE {sql}")}

    def batches(self, sql: str, rows: int) -> Generator[pa.RecordBatch, None, None]:
        """Streams a large result, about `rows` at a time. No other query can run before it is exhausted or closed."""
        with translated(self._asks), self.connection.sql(sql).to_arrow_reader(rows) as reader:
            yield from reader

    def close(self) -> None:
        self.connection.close()


def literal(value: str | list[str]) -> str:
    """SQL text of a string or of a list of strings."""
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    return "'" + value.replace("'", "''") + "'"


def pattern_of(path: Path) -> str:
    """The pattern that matches this file alone: DuckDB takes every name for a pattern."""
    return "".join(f"[{c}]" if c in MAGIC else c for c in str(path))


def file_list(paths: Iterable[Path]) -> str:
    """SQL of the files for DuckDB's table functions."""
    return literal([pattern_of(path) for path in paths])


def quoted(name: str) -> str:
    """SQL text of a column name."""
    return '"' + name.replace('"', '""') + '"'


def text(column: str) -> str:
    """SQL of a column's value as text: how ids and names of relations are compared."""
    return f"CAST({quoted(column)} AS VARCHAR)"


@contextmanager
def translated(asks: str = MEMORY_LIMIT) -> Iterator[None]:
    """Raises DuckDB's and the disk's errors as DataError (with file and line) or ResourceError."""
    try:
        yield
    except (duckdb.Error, OSError, RuntimeError) as error:  # h5py has both of the latter
        if asked() or str(error) == "Query interrupted":  # what a library makes of an exception in a signal's handler
            raise KeyboardInterrupt from error
        if ours := _ours(error, asks):
            raise ours from error
        raise


def _ours(error: Exception, asks: str) -> TransraError | None:
    """Our error for one of DuckDB or of the disk; None for another."""
    if isinstance(error, duckdb.OutOfMemoryException):
        return ResourceError(f"{asks}: DuckDB needs more memory or disk to spill ({first_line(error)})")
    if not isinstance(error, duckdb.Error):
        return exhausted(error)
    if is_full(error):
        return ResourceError(f"the disk is full ({first_line(error)})")
    return (NoValue if isinstance(error, _VALUE_ERRORS) else DataError)(_readable(error))


def _readable(error: duckdb.Error) -> str:
    """DuckDB's message on one line: of a text, the file, the line and what was expected there."""
    text = str(error)
    if found := _JSON_ERROR.search(text):
        line = int(found["line"]) - (found[1] == "Malformed JSON")  # DuckDB has counted it already
        reason = found["reason"].partition(" Try auto-detecting")[0].rstrip(". ")
        unit = "line" if found["unit"] == "line" else "row"
        return f"{found['file']}, {unit} {line}: {reason}; expected one JSON object on each line"
    csv_line, file = _CSV_LINE.search(text), _CSV_FILE.search(text)
    if "Parallel CSV Reader" in text:
        return "a CSV or TSV source has a line of tens of MB; is a quote not closed?"
    if not file:
        return " ".join(re.split(r"\n\n|\n *Potential Fixes|\nLINE", text)[0].split())
    place = f"{file[1]}, line {csv_line[1]}" if csv_line else file[1]
    if found := _CSV_COLUMNS.search(text):
        return f"{place}: has {found['found']} fields; expected {found['expected']}, as the header has"
    return f"{place}: {next((told for sign, told in _CSV_REASONS.items() if sign in text), first_line(error))}"
