"""CSV and TSV: every column is text, until the config declares its type. Nothing is guessed from a sample."""

import csv
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from artifacts.errors import ConfigError, DataError
from artifacts.expressions.engine import Engine, file_list, literal
from artifacts.section import did_you_mean
from artifacts.sources.source_files import Files
from partitioning.config.sections import Format, SourceConfig
from partitioning.sources.compressed import BYTE_ORDER_MARK, START_BYTES, start_of_text
from partitioning.sources.formats.staged import Kind, Stage, declared_kind, kind_of_ids, scanned, stage
from partitioning.sources.layout import Opened, require_column
from partitioning.sources.used import Use

_TEXT = Kind("VARCHAR", "{0}")
_DELIMITER = {"csv": ",", "tsv": "\t"}
_OTHER_DELIMITERS = (";", "|", "\t", ",")
# With an empty field as NULL, which is its default, DuckDB lets one field too many pass if that is empty. An unquoted
# field cannot hold the end of a line, so that nothing is NULL here.
_NO_NULL = f"nullstr = {literal(chr(10))}, allow_quoted_nulls = false"
_QUOTE = {"csv": '"', "tsv": ""}  # a TSV has no quoting: PBG and OpenKE split it at tabs


def open_delimited(
    engine: Engine, name: str, source: SourceConfig, format: Format, files: Files, use: Use, staged: bool
) -> Opened:
    """Reads the used columns into a table if `staged`, since parsing twice costs more than keeping them.

    Raises DataError for a line that has more or fewer fields than the header, a value that is not of its type, and
    files that are no UTF-8 text; ConfigError for a type of a column that is not there.
    """
    headers = {path: _header(path, name, source, format) for path in files}
    first = next(iter(files))
    columns = use.columns([*headers[first], *files[first]], name)
    _check_types(name, source, [*headers[first], *files[first]])
    for path, keys in files.items():
        for column in columns:
            require_column(f"{path}: source '{name}'", column, [*headers[path], *keys])
            _require_one(path, column, headers[path])
    stages = [
        Stage(members, _scan(source, format, headers[path], members), _stored(headers[path], columns))
        for path, members in _runs(files, headers, most=2 * engine.threads if staged else len(files))
    ]
    kinds = {column: declared_kind(source, column, use) or _TEXT for column in columns}
    kinds |= {column: kind_of_ids(kinds[column]) for column in use.hashed}
    return stage(engine, name, stages, kinds) if staged else scanned(stages, kinds)


def _check_types(name: str, source: SourceConfig, known: list[str]) -> None:
    for column in source.types:
        if column not in known:
            near = did_you_mean(column, known)
            raise ConfigError(f"graph.sources.{name}.types.{column}: there is no such column{near}")


def _require_one(path: Path, column: str, header: list[str]) -> None:
    alike = [name for name in header if name.casefold() == column.casefold()]
    if len(alike) > 1:
        raise DataError(
            f"{path}, line 1: has the columns {', '.join(alike)}, which SQL does not tell apart; rename one"
        )


def _runs(files: Files, headers: dict[Path, list[str]], most: int) -> Iterator[tuple[Path, Files]]:
    """At most so many files that follow each other and have one header, and the first of them.

    Of more files than two a thread, DuckDB 2.0 reads each as a whole, and takes a quote that is never closed for the
    end of its file: the rows after it would be missing without a word.
    """
    for _, run in groupby(files.items(), lambda item: headers[item[0]]):
        members = list(run)
        for first in range(0, len(members), most):
            yield members[first][0], dict(members[first : first + most])


def _stored(header: list[str], columns: list[str]) -> dict[str, str]:
    """SQL of the text of each used column that the files store; an empty field is no value."""
    return {column: f"nullif(c{header.index(column)}, '')" for column in columns if column in header}


def _scan(source: SourceConfig, format: Format, header: list[str], files: Iterable[Path]) -> str:
    quote, delimiter = literal(_QUOTE[format]), literal(_DELIMITER[format])
    columns = ", ".join(f"'c{at}': 'VARCHAR'" for at in range(len(header)))
    return (
        f"read_csv({file_list(files)}, auto_detect = false, delim = {delimiter}, quote = {quote}, escape = {quote}, "
        f"header = {'false' if source.columns else 'true'}, columns = {{{columns}}}, hive_partitioning = false, "
        f"{_NO_NULL}, strict_mode = true, null_padding = false, ignore_errors = false)"
    )


def _header(path: Path, name: str, source: SourceConfig, format: Format) -> list[str]:
    """The names of a file's columns. Raises DataError for a first line that is not what the config says."""
    fields = _first_fields(path, format)
    if not source.columns:
        _require_delimiter(path, format, fields)
        if len(fields) == 0:
            raise DataError(f"{path}, line 1: is empty; expected a header, or graph.sources.{name}.columns")
        return fields
    if [field.strip().casefold() for field in fields] == [column.casefold() for column in source.columns]:
        raise DataError(
            f"{path}, line 1: is a header, but graph.sources.{name}.columns says that the file has none; remove columns"
        )
    if fields and len(fields) != len(source.columns):
        raise DataError(
            f"{path}, line 1: has {len(fields)} columns, but graph.sources.{name}.columns names {len(source.columns)}"
        )
    return source.columns


def _require_delimiter(path: Path, format: Format, fields: list[str]) -> None:
    """Raises DataError for a header that another character separates: every column would seem to be missing."""
    others = [other for other in _OTHER_DELIMITERS if len(fields) == 1 and other in fields[0]]
    if others and others[0] != _DELIMITER[format]:
        expected = "commas" if format == "csv" else "tabs"
        raise DataError(f"{path}, line 1: seems to be separated by {others[0]!r}; expected a {format} with {expected}")


def _first_fields(path: Path, format: Format) -> list[str]:
    start = start_of_text(path)
    try:
        text = start.removeprefix(BYTE_ORDER_MARK).decode("utf-8", "strict" if len(start) < START_BYTES else "ignore")
    except UnicodeDecodeError as error:
        line = start[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: is not UTF-8 text") from error
    lines = text.splitlines(keepends=True)
    if format == "tsv":
        return text.partition("\n")[0].rstrip("\r").split("\t") if text.strip("\r\n") else []
    return next((row for row in csv.reader(lines) if row), [])
