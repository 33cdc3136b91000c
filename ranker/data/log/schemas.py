"""What the columns of the log must be: there, of one kind in every part, and what directories say of them."""

from collections.abc import Mapping, Sequence, Set
from typing import Protocol, TypeVar
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from artifacts.errors import ConfigError, DataError
from artifacts.section import did_you_mean

_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_FLOATS = {"double", "float", "halffloat"}  # kinds
LIST = "a list of "
_EXTENSION = b"ARROW:extension:name"  # in the metadata of a field, where Arrow does not know the type


class Typed(Protocol):
    """What has columns of certain types, and a name for messages."""

    name: str
    columns: list[str]
    types: dict[str, pa.DataType]

    @property
    def rows(self) -> int: ...


SomeTyped = TypeVar("SomeTyped", bound=Typed)


class UnknownExtension(pa.ExtensionType):
    """A type that a writer has built on another one: what its values mean, it alone knows."""

    def __init__(self, storage: pa.DataType, name: str) -> None:
        super().__init__(storage, name)

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: pa.DataType, serialized: bytes) -> "UnknownExtension":
        return cls(storage, "")


def types_of(schema: pa.Schema) -> dict[str, pa.DataType]:
    """The types of columns by name: a pandas Period is none of integers, whether or not pandas has told Arrow of it."""
    return {field.name: _type_of(field) for field in schema}


def _type_of(field: pa.Field) -> pa.DataType:
    name = (field.metadata or {}).get(_EXTENSION)
    return field.type if name is None else UnknownExtension(field.type, name.decode(errors="replace"))


def filled(parts: Sequence[SomeTyped]) -> list[SomeTyped]:
    """The parts that have rows, unless none has: of one without, what pandas takes for types says nothing."""
    return [part for part in parts if part.rows] or list(parts)


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
    for part in filled(parts):
        for name, where in ((name, where) for name, where in columns.items() if where != "where"):
            as_number = where in ("numerics", "labels.click", "labels.conversion") or name in times
            kind = kind_of(part.types[name], as_number)
            _require_plain(part, name, where, kind)
            before, other = known = first.get(name, (kind, part.name))
            if not fits(kind, before):
                told = f"column '{name}' is {kind}, but {before} in {other}"
                raise DataError(f"{part.name}: {told}; the files of ranker.impressions agree{of_nulls(kind, before)}")
            first[name] = known if has_values(before) else (kind, part.name)


def _require_plain(part: Typed, name: str, where: str, kind: str) -> None:
    """Raises DataError for a type on top of another one, which would be read as that, and for lists in a numeric."""
    if not is_known(part.types[name]):
        raise DataError(f"{part.name}: column '{name}' is {kind}, expected a type of Arrow's own (ranker.{where})")
    if where == "numerics" and kind.startswith(LIST):
        raise DataError(f"{part.name}: column '{name}' is {kind}, expected numbers (ranker.numerics)")


def require_counted(parts: Sequence[Typed], counts: Sequence[tuple[str, ...]], made: Sequence[str]) -> None:
    """Raises ConfigError unless every part has the columns of `ranker.counts`, and in them single values.

    Nor may one have a column that counts make (`made`, as many of each): training would not read it, and scoring the
    same rows would.
    """
    each = len(made) // max(len(counts), 1)
    for part in parts:
        lines = []
        for index, columns in enumerate(counts):
            path, taken = f"ranker.counts[{index}]", set(part.columns) & set(made[index * each : (index + 1) * each])
            lines += [f"{path}: {part.name} has a column '{name}' already; rename it" for name in sorted(taken)]
            for name in columns:
                if name not in part.columns:
                    lines.append(f"{path}: no column '{name}' in {part.name}{did_you_mean(name, part.columns)}")
                elif pa.types.is_nested(part.types[name]):
                    found = f"column '{name}' is {part.types[name]} in {part.name}"
                    lines.append(f"{path}: {found}, expected single values")
        if lines:
            raise ConfigError(*lines)


def kind_of(type: pa.DataType, as_number: bool) -> str:
    """What the values of a type are, in a word: types of one kind mean the same.

    Timestamps do as times (`as_number`); as text, those of another unit or zone are other values.
    """
    if pa.types.is_dictionary(type):
        return kind_of(type.value_type, as_number)
    if is_list(type):
        return f"{LIST}{kind_of(type.value_type, as_number)}"
    if pa.types.is_integer(type) or pa.types.is_floating(type) or pa.types.is_boolean(type):
        return "a number" if as_number else "integer" if pa.types.is_integer(type) else str(type)
    if as_number and pa.types.is_decimal(type):
        return "a number"
    if is_text(type):
        return "text"
    return "a timestamp" if as_number and pa.types.is_timestamp(type) else str(type)


def fits(found: str, kind: str) -> bool:
    """Whether values of a kind go with those of another: what has none, as a column or in lists, goes with each."""
    if found.startswith(LIST) and kind.startswith(LIST):
        return fits(found.removeprefix(LIST), kind.removeprefix(LIST))
    return found == kind or "null" in (found, kind)


def of_nulls(*kinds: str) -> str:
    """The way out, where one kind is of integers and one of what pandas makes of integers beside nulls."""
    values = {kind.split()[-1] for kind in kinds}
    told = '; pandas makes floats of integers beside nulls: .astype("Int64") keeps them integers'
    return told if "integer" in values and values & _FLOATS else ""


def has_values(kind: str) -> bool:
    """Whether a kind is one of values, and not of columns, or lists, of nulls alone."""
    while kind.startswith(LIST):
        kind = kind.removeprefix(LIST)
    return kind != "null"


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
    """Arrow's views of text, and lists of such, as the text that everything here knows."""
    if pa.types.is_string_view(column.type):
        return column.cast(pa.large_string())
    lists = is_list(column.type) and pa.types.is_string_view(column.type.value_type)
    return column.cast(pa.large_list(pa.large_string())) if lists else column


def is_id(type: pa.DataType) -> bool:
    """Whether the graph takes values of a type for ids: integers, text, UUIDs and dates."""
    uuid = getattr(type, "extension_name", "") == "arrow.uuid"
    known = (pa.types.is_integer, pa.types.is_date, pa.types.is_null, pa.types.is_binary, *_TEXTS)
    return uuid or any(is_kind(type) for is_kind in known)


def is_known(type: pa.DataType) -> bool:
    """Whether a type, or that of the values of lists, is Arrow's own or a UUID."""
    if is_list(type) or pa.types.is_dictionary(type):
        return is_known(type.value_type)
    return not isinstance(type, pa.BaseExtensionType) or type.extension_name == "arrow.uuid"


def is_list(type: pa.DataType) -> bool:
    return bool(pa.types.is_list(type) or pa.types.is_large_list(type))


def is_text(type: pa.DataType) -> bool:
    return any(is_kind(type) for is_kind in _TEXTS)


def one_text_each(values: pa.Array) -> pa.Array:
    """Floats, of which each value has one text now: NaN is no value, and -0 is 0. Anything else as it is."""
    if pa.types.is_dictionary(values.type) and pa.types.is_floating(values.type.value_type):
        values = values.cast(values.type.value_type)
    if not pa.types.is_floating(values.type):
        return values
    none, zero = pa.scalar(None, values.type), pa.scalar(0, values.type)
    values = pc.if_else(pc.is_nan(values), none, values)
    return pc.if_else(pc.equal(values, zero), zero, values)


def as_text(values: pa.Array) -> pa.Array:
    """UUIDs as the text that the graph knows them by; anything else as it is."""
    if getattr(values.type, "extension_name", "") != "arrow.uuid":
        return values
    encoded = values.storage.dictionary_encode()
    return pa.array([str(UUID(bytes=raw)) for raw in encoded.dictionary.to_pylist()], pa.string()).take(encoded.indices)
