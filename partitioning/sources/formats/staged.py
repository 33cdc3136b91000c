"""Text that is kept as a table while a graph is built: columns typed, rows in the order of the files."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from artifacts.errors import DataError
from artifacts.expressions.engine import Engine, literal, quoted
from artifacts.sources.source_files import Files
from partitioning.config.sections import SourceConfig
from partitioning.sources.layout import Opened, file_of, free_names, key_of, require_same_key
from partitioning.sources.pseudonyms import pseudonym_of
from partitioning.sources.used import Use
from partitioning.sources.values import EXPECTED, MARK, required, time_of, typed


@dataclass(frozen=True)
class Kind:
    """What a column's text becomes: its type, and SQL of the value with {0} for the text.

    A `checked` value must be there where the text is.
    """

    type: str
    value: str
    checked: bool = False

    def sql(self, text: str) -> str:
        value = self.value.format(text)
        return required(text, value, self.type) if self.checked else value


@dataclass(frozen=True)
class Stage:
    """Files that are read alike: what scans them, and SQL of the text of each used column that they store.

    `file` is SQL of a row's file, its position among `files`.
    """

    files: Files
    scan: str
    stored: dict[str, str]
    file: str = "file_index"

    def text(self, column: str) -> str:
        return self.stored[column] if column in self.stored else key_of(self.files, column, self.file)


def kind_of_ids(kind: Kind) -> Kind:
    """What the text of a column of ids becomes where pseudonyms are asked for."""
    return Kind("VARCHAR", pseudonym_of(f"CAST({kind.value} AS VARCHAR)"), kind.checked)


def declared_kind(source: SourceConfig, column: str, use: Use) -> Kind | None:
    """What the config says that a column's text is; None where it says nothing."""
    if column in source.types:
        declared = source.types[column]
        return Kind(declared, typed(declared), checked=declared != "VARCHAR")
    if use.roles.get(column) == "time":
        value, kind = time_of(source.time_unit, compared=use.named(column) or column in use.exact)
        return Kind(kind, value, checked=True)
    return None


def stage(engine: Engine, name: str, stages: list[Stage], kinds: Mapping[str, Kind]) -> Opened:
    """Reads the columns of `kinds` into a table. Raises DataError for a value that is not of its type."""
    table, place = quoted(f"source_{name}"), free_names(kinds)
    try:
        for sql in _statements(table, stages, place[0], kinds):
            engine.run(sql)
    except DataError as error:
        if MARK not in str(error):
            raise
        raise _wrong_value(engine, table, stages, place, kinds) from error
    _compare_keys(engine, table, stages, place, kinds)
    return Opened({column: kind.type for column, kind in kinds.items()}, table, _reader(table, stages, place), place)


def scanned(stages: list[Stage], kinds: Mapping[str, Kind]) -> Opened:
    """The same rows without a table: cheap to open, and only the file of a row can be told."""
    place = free_names(kinds)
    selects = list(_selects(stages, place[0], kinds))
    file, row = map(quoted, place)
    rows = f"({' UNION ALL '.join(selects)})"
    paths = [path for part in stages for path in part.files]
    reader = f"(SELECT * EXCLUDE ({file}), {file_of(paths, file)} AS {file}, NULL AS {row} FROM {rows})"
    return Opened({column: kind.type for column, kind in kinds.items()}, rows, reader, place)


def _statements(table: str, stages: list[Stage], file: str, kinds: Mapping[str, Kind]) -> Iterator[str]:
    for at, select in enumerate(_selects(stages, file, kinds)):
        yield f"{f'INSERT INTO {table}' if at else f'CREATE OR REPLACE TEMP TABLE {table} AS'} {select}"


def _selects(stages: list[Stage], file: str, kinds: Mapping[str, Kind]) -> Iterator[str]:
    """SQL of the rows of each stage: the values, and the position of the file among all."""
    before = 0
    for part in stages:
        values = [f"{kind.sql(part.text(column))} AS {quoted(column)}" for column, kind in kinds.items()]
        values.append(f"CAST({part.file} + {before} AS UINTEGER) AS {quoted(file)}")
        yield f"SELECT {', '.join(values)} FROM {part.scan}"
        before += len(part.files)


def _paths(stages: list[Stage]) -> list[Path]:
    return [path for part in stages for path in part.files]


def _reader(table: str, stages: list[Stage], place: tuple[str, str]) -> str:
    file, row = map(quoted, place)
    shadowed = "rowid" in (column.casefold() for part in stages for column in part.stored)
    nth = "row_number() OVER" if shadowed else "rowid + 1 - min(rowid) OVER"
    return (
        f"(SELECT * EXCLUDE ({file}), {file_of(_paths(stages), file)} AS {file}, "
        f"{nth} (PARTITION BY {file}) AS {row} FROM {table})"
    )


def _wrong_value(
    engine: Engine, table: str, stages: list[Stage], place: tuple[str, str], kinds: Mapping[str, Kind]
) -> DataError:
    """The error for the first value that is not of its type; reads the files again, as text."""
    texts = {column: Kind("VARCHAR", "{0}") if kind.checked else kind for column, kind in kinds.items()}
    for sql in _statements(table, stages, place[0], texts):
        engine.run(sql)
    file, row = map(quoted, place)
    for column, kind in ((column, kind) for column, kind in kinds.items() if kind.checked):
        text = quoted(column)
        wrong = f"{text} IS NOT NULL AND {kind.value.format(text)} IS NULL ORDER BY ALL LIMIT 1"
        for path, number, value in engine.rows(
            f"SELECT {file}, {row}, {text} FROM {_reader(table, stages, place)} WHERE {wrong}"
        ):
            return DataError(f"{path}, row {number}: column '{column}' has '{value}'; expected {EXPECTED[kind.type]}")
    raise AssertionError(f"a value of {table} is not of its type, but no row has it")


def _compare_keys(
    engine: Engine, table: str, stages: list[Stage], place: tuple[str, str], kinds: Mapping[str, Kind]
) -> None:
    """Raises DataError where a column is not what the directory of its file says."""
    reader, file = _reader(table, stages, place), quoted(place[0])
    for column in {column for part in stages for column in part.stored}:
        both = {p: k for part in stages if column in part.stored for p, k in part.files.items() if column in k}
        if both:
            at = f"list_position({literal([str(path) for path in both])}, {file}) - 1"
            key = f"{column} of the directory"
            among = f"{file} IN ({', '.join(literal(str(path)) for path in both)})"
            rows = f"(SELECT *, {key_of(both, column, at)} AS {quoted(key)} FROM {reader} WHERE {among})"
            require_same_key(engine, rows, column, kinds[column].type, key, place)
