"""What the columns of the log must be: there, of one kind in every part, and what directories say of them."""

from collections.abc import Mapping, Sequence, Set
from typing import Protocol
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from artifacts.errors import ConfigError, DataError
from artifacts.section import did_you_mean

_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)


class Typed(Protocol):
    """What has columns of certain types, and a name for messages."""

    name: str
    columns: list[str]
    types: dict[str, pa.DataType]


def require_schemas(parts: Sequence[Typed], columns: Mapping[str, str], times: Set[str | None]) -> None:
    """Raises DataError unless every part has `columns` (config paths by name), each of one kind in all of them.

    Numbers of a numeric or a label may be integers in one file and floats in another. Anything else that a column may
    be is compared as text, where an integer 7 and a text "07" would be two things without a word. What `where` alone
    names has types of its own (`where.Where`).
    """
    first: dict[str, tuple[str, str]] = {}
    for part in parts:
        lines = [
            f"{part.name}: no column '{name}' (ranker.{where}){did_you_mean(name, part.columns)}"
            for name, where in columns.items()
            if name not in part.columns
        ]
        lines += [f"{part.name}: has two columns '{n}'; rename one" for n in columns if part.columns.count(n) > 1]
        if lines:
            raise DataError(*lines)
        for name, where in ((name, where) for name, where in columns.items() if where != "where"):
            as_number = where in ("numerics", "labels.click", "labels.conversion") or name in times
            kind = kind_of(part.types[name], as_number)
            before, other = first.setdefault(name, (kind, part.name)) if kind != "null" else (kind, part.name)
            if kind != before:
                told = f"column '{name}' is {kind}, but {before} in {other}"
                raise DataError(f"{part.name}: {told}; the files of ranker.impressions agree")


def require_counted(parts: Sequence[Typed], counts: Sequence[tuple[str, ...]]) -> None:
    """Raises ConfigError unless every part has the columns of `ranker.counts`, and in them single values."""
    for part in parts:
        lines = []
        for index, name in ((index, name) for index, columns in enumerate(counts) for name in columns):
            path = f"ranker.counts[{index}]"
            if name not in part.columns:
                lines.append(f"{path}: no column '{name}' in {part.name}{did_you_mean(name, part.columns)}")
            elif pa.types.is_nested(part.types[name]):
                found = f"column '{name}' is {part.types[name]} in {part.name}"
                lines.append(f"{path}: {found}, expected single values")
        if lines:
            raise ConfigError(*lines)


def kind_of(type: pa.DataType, as_number: bool) -> str:
    """What the values of a type are, in a word: types of one kind mean the same."""
    if pa.types.is_dictionary(type):
        return kind_of(type.value_type, as_number)
    if pa.types.is_list(type) or pa.types.is_large_list(type):
        return f"a list of {kind_of(type.value_type, as_number)}"
    if pa.types.is_integer(type) or pa.types.is_floating(type) or pa.types.is_boolean(type):
        return "a number" if as_number else "integer" if pa.types.is_integer(type) else str(type)
    if as_number and pa.types.is_decimal(type):
        return "a number"
    if any(is_kind(type) for is_kind in _TEXTS):
        return "text"
    return "a timestamp" if pa.types.is_timestamp(type) else str(type)


def require_same_key(part: str, first: int, name: str, column: pa.ChunkedArray, value: str | None) -> None:
    """Raises DataError for a row, counted from `first`, whose stored column is not what its directory says."""
    other = ~_equal(column, value)
    if other.any():
        at = int(np.argmax(other))
        raise DataError(f"{part}: row {first + at}: {name} is {column[at]}, but its directory says {name}={value}")


def _equal(column: pa.ChunkedArray, value: str | None) -> NDArray[np.bool_]:
    """Whether each value (N,) is what a text says."""
    try:
        said = pa.scalar(value, pa.string()).cast(column.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return np.zeros(len(column), np.bool_)
    same = column.is_null() if value is None else pc.fill_null(pc.equal(column, said), False)
    found: NDArray[np.bool_] = same.to_numpy()
    return found


def plain(column: pa.Array) -> pa.Array:
    """Arrow's views of text as the text that everything here knows."""
    return column.cast(pa.large_string()) if pa.types.is_string_view(column.type) else column


def is_id(type: pa.DataType) -> bool:
    """Whether the graph takes values of a type for ids: integers, text, UUIDs and dates."""
    uuid = getattr(type, "extension_name", "") == "arrow.uuid"
    known = (pa.types.is_integer, pa.types.is_date, pa.types.is_null, pa.types.is_binary, *_TEXTS)
    return uuid or any(is_kind(type) for is_kind in known)


def as_text(values: pa.Array) -> pa.Array:
    """UUIDs as the text that the graph knows them by; anything else as it is."""
    if getattr(values.type, "extension_name", "") != "arrow.uuid":
        return values
    encoded = values.storage.dictionary_encode()
    return pa.array([str(UUID(bytes=raw)) for raw in encoded.dictionary.to_pylist()], pa.string()).take(encoded.indices)
