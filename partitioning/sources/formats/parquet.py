"""Parquet sources: scanned where they lie, file by file of one schema as far as columns are used."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
from pyarrow.lib import ArrowException

from artifacts.errors import DataError
from artifacts.expressions.column_types import FLOATS, NO_TYPE, wider
from artifacts.expressions.engine import Engine, file_list, literal, quoted
from artifacts.sources.source_files import Files
from partitioning.sources.files import NOT_IN_ALL, damaged
from partitioning.sources.layout import (
    Opened,
    file_of,
    free_names,
    key_of,
    require_column,
    require_same_key,
)
from partitioning.sources.used import Use

_VIRTUAL = ("file_index", "file_row_number")  # DuckDB's own columns, unless a file has one of the name

Schema = dict[str, tuple[str, ...]]  # of each column, the types of what it holds


@dataclass(frozen=True)
class _Group:
    """Files that have the used columns alike: `stored` in them, or named by their directories (`keys`), or both."""

    files: Files
    stored: list[str]
    keys: list[str]
    shadowed: list[str]  # of DuckDB's virtual columns
    types: dict[str, str]

    @property
    def scan(self) -> str:
        return f"read_parquet({file_list(self.files)}, hive_partitioning = false)"

    @property
    def file(self) -> str:
        shadowed = "file_index" in self.shadowed  # then the group is one file
        return literal(str(next(iter(self.files)))) if shadowed else file_of(self.files, "file_index")

    @property
    def row(self) -> str:
        return "NULL" if "file_row_number" in self.shadowed else "file_row_number + 1"

    def key(self, column: str) -> str:
        return key_of(self.files, column, "0" if "file_index" in self.shadowed else "file_index")


def open_parquet(
    engine: Engine, name: str, files: Files, use: Use, counted: dict[str, str], agreed: Mapping[str, str]
) -> Opened:
    """Raises DataError for files that are broken, lack a used column or have it in types that do not agree.

    `agreed` are the types of the columns where these are only some of the source's files.
    """
    files = filled(files)
    schemas = {path: _schema(path) for path in files}
    first = next(iter(files))
    columns = use.columns([*schemas[first], *files[first]], name)
    groups = _groups(engine, name, files, schemas, columns)
    types = {column: agreed.get(column) or _common(groups, column, use) for column in columns}
    _forget_types_of_nulls(groups, agreed)
    for column, kind in counted.items():
        if types.get(column, kind) not in (kind, NO_TYPE) and kind != NO_TYPE:
            raise DataError(
                f"{first}: column '{column}' is {types[column]}, but {kind} in the files counted before; files agree"
            )
    opaque = _floats(use, types)
    place = free_names(columns)
    for group in groups:
        for column in (c for c in group.keys if c in group.stored):
            _compare(engine, group, column, place)
    plain = len(groups) == 1 and not groups[0].keys and not opaque and groups[0].types == types
    table = groups[0].scan if plain else _union(groups, types, opaque, None)
    return Opened(types, table, _union(groups, types, opaque, place), place)


def single_valued(files: Files) -> list[str]:
    """The columns that all files with rows have, or their directories name, and that are no lists or structs."""
    first, *others = (dict.fromkeys([*_single(path), *keys]) for path, keys in filled(files).items())
    return [name for name in first if all(name in other for other in others)]


def _single(path: Path) -> list[str]:
    schema = _metadata(path).schema
    return [leaf.name for leaf in map(schema.column, range(len(schema))) if leaf.path == leaf.name]


def other_columns(files: Files) -> dict[str, str]:
    """What keeps each column that `single_valued` leaves out from being one: it is nested, or not in all files."""
    known, found, paths = {*single_valued(files)}, dict[str, str](), list(filled(files))
    for path in paths:
        schema = _metadata(path).schema
        for leaf in map(schema.column, range(len(schema))):
            name = leaf.path if leaf.path == leaf.name else leaf.path.partition(".")[0]
            if name not in known:
                found.setdefault(name, "nested" if leaf.path != leaf.name else NOT_IN_ALL)
    return found


def filled(files: Files) -> Files:
    """The files that have rows, unless none has: of a file without rows, what pandas takes for types says nothing."""
    return {path: keys for path, keys in files.items() if _metadata(path).num_rows} or files


def _metadata(path: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(path)
    except (ArrowException, OSError) as error:
        raise damaged(path, error) from error


def _schema(path: Path) -> Schema:
    schema = _metadata(path).schema
    found: Schema = {}
    for leaf in map(schema.column, range(len(schema))):
        kind = leaf.physical_type if leaf.logical_type.type == "NONE" else str(leaf.logical_type)
        for name in {leaf.path, leaf.path.partition(".")[0]}:
            found[name] = (*found.get(name, ()), f"{leaf.path} {kind}")
    return found


class _Alike(NamedTuple):
    """What the files of a group have in common; DuckDB's own columns must not be mixed up with theirs."""

    stored: tuple[tuple[str, ...] | None, ...]
    named: tuple[bool, ...]
    shadowed: tuple[str, ...]
    alone: Path | None


def _groups(engine: Engine, name: str, files: Files, schemas: dict[Path, Schema], columns: list[str]) -> list[_Group]:
    """Raises DataError for a file without a used column, or with two that SQL does not tell apart."""
    alike: dict[_Alike, Files] = {}
    for path, keys in files.items():
        schema = schemas[path]
        for column in columns:
            require_column(f"{path}: source '{name}'", column, [*schema, *keys])
            _require_one(path, column, schema)
        shadowed = tuple(virtual for virtual in _VIRTUAL if virtual in map(str.casefold, schema))
        stored, named = tuple(map(schema.get, columns)), tuple(column in keys for column in columns)
        alone = path if "file_index" in shadowed else None
        alike.setdefault(_Alike(stored, named, shadowed, alone), {})[path] = keys
    groups = []
    for common, members in alike.items():
        held = [column for column, kinds in zip(columns, common.stored, strict=True) if kinds]
        keyed = [column for column, is_key in zip(columns, common.named, strict=True) if is_key]
        groups.append(_described(engine, name, _Group(members, held, keyed, list(common.shadowed), {})))
    return groups


def _require_one(path: Path, column: str, schema: Schema) -> None:
    alike, kinds = [name for name in schema if name.casefold() == column.casefold()], schema.get(column, ())
    if len(alike) > 1 or len(set(kinds)) < len(kinds):
        raise DataError(
            f"{path}: has the columns {', '.join(sorted(alike))}, which SQL does not tell apart; rename one"
        )


def _described(engine: Engine, name: str, group: _Group) -> _Group:
    types = engine.columns(f"SELECT * FROM {group.scan}")
    keys = {column: "VARCHAR" for column in group.keys if column not in group.stored}
    for column in group.stored:
        if column not in types:
            require_column(f"{next(iter(group.files))}: source '{name}'", column, types)
    stored = {column: types[column] for column in group.stored}
    return _Group(group.files, group.stored, group.keys, group.shadowed, {**stored, **keys})


def _common(groups: list[_Group], column: str, use: Use) -> str:
    """The type that holds a column's values of all files. Raises DataError when only a guess could make them one."""
    if len({group.types[column] for group in groups}) > 1:
        for group in (group for group in groups if column in group.stored and _all_null(group.files, column)):
            group.types[column] = NO_TYPE
    first = next((group for group in groups if group.types[column] != NO_TYPE), groups[0])
    common = first.types[column]
    for group in groups:
        kind = group.types[column]
        joined = wider(common, kind, use.roles.get(column))
        if joined is None:
            path, other = next(iter(group.files)), next(iter(first.files))
            raise DataError(
                f"{path}: column '{column}' is {kind}, but {first.types[column]} in {other}; files of a source agree"
            )
        common = joined
    return common


def _forget_types_of_nulls(groups: list[_Group], agreed: Mapping[str, str]) -> None:
    """What `_common` does in place, for types that were agreed on before."""
    for group in groups:
        for column, kind in agreed.items():
            if column in group.stored and group.types[column] != kind and _all_null(group.files, column):
                group.types[column] = NO_TYPE


def _all_null(files: Files, column: str) -> bool:
    """Whether no file has a value in a column, as statistics say: pandas writes a day of nulls as DOUBLE."""
    for metadata in map(_metadata, files):
        at = [leaf for leaf in range(metadata.num_columns) if metadata.schema.column(leaf).path == column]
        for part in (metadata.row_group(i).column(at[0]) for i in range(metadata.num_row_groups)) if at else [None]:
            if part is None or not part.statistics or part.statistics.null_count != part.num_values:
                return False
    return True


def _floats(use: Use, types: dict[str, str]) -> set[str]:
    """Columns with floats, also inside of structs and lists, that an expression reads.

    DuckDB 2.0.0 takes the minimum and maximum of a row group for those of all its values, NaN included: `isnan(w)`
    finds nothing, and `w > 5` finds a NaN or not by the row group that it lies in. TRY hides where a value comes from.
    """
    named = {column.casefold() for expression in use.expressions for column in expression.columns}
    return {c for c, kind in types.items() if any(f in kind for f in FLOATS) and c.casefold() in named}


def _union(groups: list[_Group], types: dict[str, str], opaque: set[str], place: tuple[str, str] | None) -> str:
    """SQL of the used columns of all groups, with the place of each row where it is asked for."""
    return "(" + " UNION ALL ".join(_select(group, types, opaque, place) for group in groups) + ")"


def _select(group: _Group, types: dict[str, str], opaque: set[str], place: tuple[str, str] | None) -> str:
    columns = []
    for column, kind in types.items():
        value = quoted(column) if column in group.stored else group.key(column)
        if group.types[column] == NO_TYPE != kind:
            value = f"CAST(NULL AS {kind})"  # DuckDB may have a type for it
        elif group.types[column] != kind:
            value = _cast(value, group.types[column], kind)
        columns.append(f"{f'TRY({value})' if column in opaque else value} AS {quoted(column)}")
    if place:
        columns += [f"{sql} AS {quoted(name)}" for sql, name in zip((group.file, group.row), place, strict=True)]
    return f"SELECT {', '.join(columns) or '1'} FROM {group.scan}"


def _cast(value: str, before: str, kind: str) -> str:
    """SQL of a value as a wider type; a cast would round nanoseconds up."""
    return f"make_timestamptz(epoch_ns({value}) // 1000)" if before.endswith("_NS") else f"CAST({value} AS {kind})"


def _compare(engine: Engine, group: _Group, column: str, place: tuple[str, str]) -> None:
    """Raises DataError where a file's column is not what its directory says."""
    file, row = (f"{sql} AS {quoted(name)}" for sql, name in zip((group.file, group.row), place, strict=True))
    key = f"{column} of the directory"
    rows = f"(SELECT {quoted(column)}, {group.key(column)} AS {quoted(key)}, {file}, {row} FROM {group.scan})"
    require_same_key(engine, rows, column, group.types[column], key, place)
