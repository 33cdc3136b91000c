"""The columns of rows to score, whatever they come in: the ones that training read, of the kinds that it read."""

from collections.abc import Callable, Collection, Mapping, Sequence, Set
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from artifacts.errors import DataError
from artifacts.section import did_you_mean
from artifacts.sources.frame import Frame, arrow_table
from ranker.data.log.block import LogBlock
from ranker.data.log.schemas import LIST, fits, is_known, kind_of, of_nulls, types_of

COLUMNS = "columns"  # what errors call rows in memory

Columns: TypeAlias = "Mapping[str, Any] | Frame"


def block_of(columns: Columns, wanted_of: Callable[[Collection[str]], Mapping[str, str]]) -> LogBlock:
    """Rows in memory; only the columns that are wanted of those that are there are looked at.

    Raises DataError, with the column, for what is none.
    """
    if not isinstance(columns, Mapping):
        table = arrow_table(COLUMNS, columns)
        wanted = wanted_of(table.column_names)
    else:
        wanted = wanted_of(columns)
        require_there(COLUMNS, list(columns), wanted)
        arrays = {name: _array(name, columns[name]) for name in wanted}
        _require_one_length({name: len(array) for name, array in arrays.items()})
        table = pa.table(arrays)
    require_kinds(COLUMNS, table.column_names, types_of(table.schema), wanted)
    return LogBlock(COLUMNS, 0, table)


def _array(name: str, values: Any) -> pa.Array:
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    if isinstance(values, str | bytes | Mapping | Set):
        raise DataError(f"{COLUMNS}: column {name} is a {type(values).__name__}, expected a value for every row")
    if isinstance(values, np.ndarray) and (values.ndim > 1 or values.dtype == object):
        values = list(values)
    try:
        return pa.array(values)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{COLUMNS}: column {name}: no values of one type ({' '.join(str(error).split())})") from error


def _require_one_length(lengths: Mapping[str, int]) -> None:
    first = next(iter(lengths), "")
    for name, length in lengths.items():
        if length != lengths[first]:
            raise DataError(f"{COLUMNS}: column {name} has {length} rows, but {first} has {lengths[first]}")


def require_kinds(part: str, names: Sequence[str], types: Mapping[str, pa.DataType], wanted: Mapping[str, str]) -> None:
    """Raises DataError unless the columns are there once, among all `names`, of the kinds that training read."""
    require_there(part, names, wanted)
    for name, kind in wanted.items():
        found = kind_of(types[name], as_number=kind.removeprefix(LIST) in ("a number", "a timestamp"))
        if not fits(found, kind) or not is_known(types[name]):
            raise DataError(f"{part}: column {name} is {found}, but {kind} in training{_way_out(found, kind)}")


def _way_out(found: str, kind: str) -> str:
    told = of_nulls(found, kind)
    return '; .astype("float64") makes floats of them' if told and found.endswith("integer") else told


def require_there(part: str, names: Sequence[str], wanted: Mapping[str, str]) -> None:
    """Raises DataError for a column that is missing or there twice."""
    for name, kind in wanted.items():
        if name not in names:
            told = "" if kind == "null" else f", in training {kind}"
            raise DataError(f"{part}: no column '{name}'{told}{did_you_mean(name, list(names))}")
        if list(names).count(name) > 1:
            raise DataError(f"{part}: has two columns '{name}'; rename one")
