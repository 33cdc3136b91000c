"""JSON lines: values keep the types that JSON gives them, and a column that is used keeps one type."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

from artifacts.errors import ConfigError, DataError
from artifacts.expressions.column_types import NO_TYPE
from artifacts.expressions.engine import Engine, file_list, literal, quoted
from artifacts.sources.source_files import Files
from partitioning.config.sections import SourceConfig
from partitioning.sources.compressed import has_mark, start_of_text
from partitioning.sources.formats.staged import Kind, Stage, declared_kind, stage
from partitioning.sources.layout import Opened, key_of, require_column
from partitioning.sources.pseudonyms import pseudonym_of
from partitioning.sources.used import Use

_FIRST_LINES = 1000
_TEXT = Kind("VARCHAR", "{0}")
_CLASS = {
    "UBIGINT": "a number", "BIGINT": "a number", "HUGEINT": "a number", "DOUBLE": "a number", "VARCHAR": "a string",
    "BOOLEAN": "a boolean", "OBJECT": "an object", "ARRAY": "a list",
}  # fmt: skip


def open_json_lines(
    engine: Engine, name: str, source: SourceConfig, files: Files, use: Use, counted: dict[str, str]
) -> Opened:
    """Reads the used columns into a table. `counted` has the types of other files that were counted before.

    Raises DataError for a line that is no JSON object, a column that no line has, and one that changes its type.
    """
    seen, first = [*counted, *_first_names(next(iter(files)))], next(iter(files))
    keys = {key for of_file in files.values() for key in of_file}
    named = [column for expression in use.expressions for column in expression.columns]
    known = list(dict.fromkeys([*seen, *sorted(keys), *use.roles, *use.checked]))
    folded = {column.casefold() for column in known}
    columns = use.columns([*known, *(column for column in named if column.casefold() not in folded)], name)
    for column in (column for column in source.types if column not in columns and column not in known):
        raise ConfigError(f"graph.sources.{name}.types.{column}: nothing uses such a column")
    raw = _Raw(engine, quoted(f"json_{name}"), files, columns, use.hashed)
    raw.read()
    kinds = {}
    for column in columns:
        found = raw.types(column, source)
        if not found and not any(column in of_file for of_file in files.values()):
            require_column(f"{first}: source '{name}'", column, seen)
        by_directory = not found and column in keys
        kinds[column] = _TEXT if by_directory else _kind(first, source, use, column, found, counted.get(column))
    stored = {column: raw.text(column, kinds[column]) for column in columns if raw.holds(column)}
    opened = stage(engine, name, [Stage(files, raw.table, stored, "file")], kinds)
    engine.run(f"DROP TABLE {raw.table}")
    return _with_nulls(opened)


@dataclass(frozen=True)
class _Raw:
    """The used columns as JSON, in a table with names of its own."""

    engine: Engine
    table: str
    files: Files
    columns: list[str]
    hashed: set[str]

    def of(self, column: str) -> str:
        return f"c{self.columns.index(column)}"

    def read(self) -> None:
        shadowed = "file_index" in map(str.casefold, self.columns)  # then DuckDB's own column is out of sight
        marked = {path for path in self.files if has_mark(path)}
        alone = shadowed or bool(marked)
        for at, files in enumerate([[path] for path in self.files] if alone else [list(self.files)]):
            select = f"SELECT {self._kept}, CAST({at if alone else 'file_index'} AS UINTEGER) AS file"
            into = f"INSERT INTO {self.table}" if at else f"CREATE TEMP TABLE {self.table} AS"
            self.engine.run(f"{into} {select} FROM {self._scan(files, files[0] in marked)}")

    @property
    def _kept(self) -> str:
        return ", ".join(f"{self._value(column)} AS {self.of(column)}" for column in self.columns)

    def _value(self, column: str) -> str:
        """SQL of a column's JSON, of ids a pseudonym; what can be no id keeps the type that it is refused for."""
        value = quoted(column)
        if column not in self.hashed:
            return value
        text = f"({value} ->> '$')"
        pseudonym = f"CAST(to_json({pseudonym_of(text)}) AS JSON)"
        return (
            f"CASE WHEN json_type({value}) IN ('VARCHAR', 'UBIGINT', 'BIGINT') THEN {pseudonym} "
            f"WHEN json_type({value}) IN ('OBJECT', 'ARRAY') THEN CAST('{{}}' AS JSON) ELSE {value} END"
        )

    def _scan(self, files: list[Path], marked: bool) -> str:
        """A table function. DuckDB skips a byte order mark only where it does not look for lines.

        `records`: else, of a file with a line that is no object, one column would be the whole line.
        """
        format = "unstructured" if marked else "newline_delimited"
        struct = ", ".join(f"{literal(column)}: 'JSON'" for column in self.columns)
        return (
            f"read_json({file_list(files)}, format = '{format}', records = 'true', columns = {{{struct}}}, "
            "hive_partitioning = false, ignore_errors = false)"
        )

    def holds(self, column: str) -> bool:
        """Whether the lines have a column; else the directories do."""
        return bool(self.engine.rows(f"SELECT 1 FROM {self.table} WHERE {self.of(column)} IS NOT NULL LIMIT 1"))

    def text(self, column: str, kind: Kind) -> str:
        """SQL of a column's text, of an object's JSON; where a line is without, of what the directory says."""
        value = self.of(column) if kind.type == "JSON" else f"({self.of(column)} ->> '$')"
        if not any(column in keys for keys in self.files.values()):
            return value
        key = key_of(self.files, column, "file")
        return f"coalesce({value}, {pseudonym_of(key) if column in self.hashed else key})"

    def types(self, column: str, source: SourceConfig) -> dict[str, int]:
        """JSON's types of a column's values, with the first row of each.

        Raises DataError for two that are no numbers both, unless the config declares what their text is.
        """
        value = self.of(column)
        kind = f"CASE WHEN TRY_CAST({value} ->> '$' AS BIGINT) IS NULL THEN 'UBIGINT' ELSE 'BIGINT' END"
        kind = f"CASE json_type({value}) WHEN 'UBIGINT' THEN {kind} ELSE json_type({value}) END"
        values = f"FROM {self.table} WHERE {value} IS NOT NULL"
        found = dict(self.engine.rows(f"SELECT {kind} AS kind, min(rowid) {values} GROUP BY kind ORDER BY 2"))
        classes: dict[str, int] = {}
        for json_type, row in found.items():
            classes.setdefault(_CLASS[json_type], row)
        if len(classes) > 1 and column not in source.types:
            (one, before), (other, row) = list(classes.items())[:2]
            raise DataError(
                f"{self.place(row)}: column '{column}' is {other}, but {one} in {self.place(before)}; expected one type"
            )
        return found

    def place(self, row: int) -> str:
        nth = "rowid + 1 - min(rowid) OVER (PARTITION BY file)"
        file, nth = self.engine.row(f"SELECT file, {nth} FROM {self.table} QUALIFY rowid = {row}")
        return f"{list(self.files)[file]}, row {nth}"


def _kind(first: Path, source: SourceConfig, use: Use, column: str, found: dict[str, int], counted: str | None) -> Kind:
    declared = declared_kind(source, column, use)
    number = any(_CLASS[kind] == "a number" for kind in found)
    if declared and not (number and use.roles.get(column) == "time" and not source.time_unit):
        return declared
    kind = _type(found)
    if counted == "DOUBLE" and kind == "BIGINT" or kind == NO_TYPE:
        kind = counted or NO_TYPE
    if counted not in (None, NO_TYPE, kind):
        way_out = f"declare it in types of the source, as {counted}, and count all files again with --rebuild"
        raise DataError(f"{first}: column '{column}' is {kind}, but {counted} in the files counted before; {way_out}")
    if kind == NO_TYPE:
        return Kind(NO_TYPE, "NULL")
    return Kind(kind, "{0}" if kind in ("VARCHAR", "JSON") else f"CAST({{0}} AS {kind})")


def _type(found: dict[str, int]) -> str:
    """DuckDB's type for values of JSON's types."""
    if not found:
        return NO_TYPE
    for kind, holds in (("DOUBLE", "DOUBLE"), ("UBIGINT", "HUGEINT"), ("BIGINT", "BIGINT"), ("BOOLEAN", "BOOLEAN")):
        if kind in found:
            return holds
    return "VARCHAR" if "VARCHAR" in found else "JSON"


def _with_nulls(opened: Opened) -> Opened:
    """Columns without a value have no type in SQL either, so that any condition can be asked of them."""
    empty = [f"NULL AS {quoted(column)}" for column, kind in opened.types.items() if kind == NO_TYPE]
    if not empty:
        return opened
    table, reader = (f"(SELECT * REPLACE ({', '.join(empty)}) FROM {rows})" for rows in (opened.table, opened.reader))
    return replace(opened, table=table, reader=reader)


def _first_names(path: Path) -> list[str]:
    """The names in the first lines of a file. What is no JSON object there, DuckDB says."""
    names: dict[str, None] = {}
    for line in start_of_text(path).splitlines()[:_FIRST_LINES]:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        names.update(dict.fromkeys(value if isinstance(value, dict) else ()))
    return list(names)
