"""Parquet sources: scanned where they lie, file by file of one schema as far as columns are used."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
from pyarrow.lib import ArrowException

from artifacts.errors import DataError
from artifacts.source_files import Files
from partitioning.sources.engine import Engine, file_list, literal, quoted
from partitioning.sources.files import damaged
from partitioning.sources.layout import (
    INTEGERS,
    NO_TYPE,
    UNSIGNED,
    Opened,
    file_of,
    free_names,
    key_of,
    require_column,
    require_same_key,
)
from partitioning.sources.used import Use

_VIRTUAL = ("file_index", "file_row_number")  # DuckDB's own columns, unless a file has one of the name
_FLOATS = ("FLOAT", "DOUBLE")
_TIMESTAMP = "TIMESTAMP WITH TIME ZONE"

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


def open_parquet(engine: Engine, name: str, files: Files, use: Use, counted: dict[str, str]) -> Opened:
    """Raises DataError for files that are broken, lack a used column or have it in types that do not agree."""
    schemas = {path: _schema(path) for path in files}
    first = next(iter(files))
    columns = use.columns([*schemas[first], *files[first]], name)
    groups = _groups(engine, name, files, schemas, columns)
    types = {column: _common(groups, column, use) for column in columns}
    for column, kind in counted.items():
        if types.get(column, kind) not in (kind, NO_TYPE) and kind != NO_TYPE:
            raise DataError(
                f"{first}: column '{column}' is {types[column]}, but {kind} in the files counted before; files agree"
            )
    opaque = _floats(use, types, name)
    place = free_names(columns)
    for group in groups:
        for column in (c for c in group.keys if c in group.stored):
            _compare(engine, group, column, place)
    plain = len(groups) == 1 and not groups[0].keys and not opaque
    table = groups[0].scan if plain else _union(groups, types, opaque, None)
    return Opened(types, table, _union(groups, types, opaque, place), place)


def _schema(path: Path) -> Schema:
    try:
        schema = pq.read_metadata(path).schema
    except (ArrowException, OSError) as error:
        raise damaged(path, error) from error
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
        groups.append(_described(engine, _Group(members, held, keyed, list(common.shadowed), {})))
    return groups


def _require_one(path: Path, column: str, schema: Schema) -> None:
    alike, kinds = [name for name in schema if name.casefold() == column.casefold()], schema.get(column, ())
    if len(alike) > 1 or len(set(kinds)) < len(kinds):
        raise DataError(
            f"{path}: has the columns {', '.join(sorted(alike))}, which SQL does not tell apart; rename one"
        )


def _described(engine: Engine, group: _Group) -> _Group:
    columns = ", ".join(map(quoted, group.stored)) or "1"
    types = engine.columns(f"SELECT {columns} FROM {group.scan}")
    keys = {column: "VARCHAR" for column in group.keys if column not in group.stored}
    stored = {column: types[column] for column in group.stored}
    return _Group(group.files, group.stored, group.keys, group.shadowed, {**stored, **keys})


def _common(groups: list[_Group], column: str, use: Use) -> str:
    """The type that holds a column's values of all files. Raises DataError when only a guess could make them one."""
    first = next((group for group in groups if group.types[column] != NO_TYPE), groups[0])
    common = first.types[column]
    for group in groups:
        kind = group.types[column]
        wider = _wider(common, kind, use.roles.get(column))
        if wider is None:
            path, other = next(iter(group.files)), next(iter(first.files))
            raise DataError(
                f"{path}: column '{column}' is {kind}, but {first.types[column]} in {other}; files of a source agree"
            )
        common = wider
    return common


def _wider(one: str, other: str, role: str | None) -> str | None:
    if other in (one, NO_TYPE):
        return one
    for family in (INTEGERS, UNSIGNED):
        if one in family and other in family:
            return max(one, other, key=family.index)
    integers = (*INTEGERS, *UNSIGNED)
    if one in integers and other in integers:
        return "HUGEINT"
    if role is None and one in (*integers, *_FLOATS) and other in (*integers, *_FLOATS):
        return "DOUBLE"
    if role == "time" and one.startswith("TIMESTAMP") and other.startswith("TIMESTAMP"):
        return _TIMESTAMP
    return None


def _floats(use: Use, types: dict[str, str], source: str) -> set[str]:
    """Columns of floats that an expression reads.

    DuckDB 2.0.0 takes the minimum and maximum of a row group for those of all its values, NaN included: `isnan(w)`
    finds nothing, and `w > 5` finds a NaN or not by the row group that it lies in. TRY hides where a value comes from.
    """
    named = {column.casefold() for expression in use.expressions for column in expression.columns}
    return {column for column, kind in types.items() if kind in _FLOATS and column.casefold() in named}


def _union(groups: list[_Group], types: dict[str, str], opaque: set[str], place: tuple[str, str] | None) -> str:
    """SQL of the used columns of all groups, with the place of each row where it is asked for."""
    return "(" + " UNION ALL ".join(_select(group, types, opaque, place) for group in groups) + ")"


def _select(group: _Group, types: dict[str, str], opaque: set[str], place: tuple[str, str] | None) -> str:
    columns = []
    for column, kind in types.items():
        value = quoted(column) if column in group.stored else group.key(column)
        value = value if group.types[column] in (kind, NO_TYPE) else _cast(value, group.types[column], kind)
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
