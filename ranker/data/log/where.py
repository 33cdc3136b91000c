"""`ranker.where`: which rows of the log are impressions at all. The graph's language, on DuckDB, a block at a time."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.errors import ConfigError, DataError
from artifacts.expressions.column_types import NO_TYPE, wider
from artifacts.expressions.engine import Engine, NoValue, quoted, translated
from artifacts.expressions.expression import parse, resolve
from artifacts.expressions.type_checks import check_types
from artifacts.sources.stores import is_url
from ranker.config.sections import RankerConfig
from ranker.data.log.parts import Part, file_parts
from ranker.data.log.schemas import filled

PATH = "ranker.where"
SOURCE = "impressions"  # what messages call the log
_MEMORY = 900_000_000  # bytes for an expression over one block, of which DuckDB is given 0.5 GB
_BLOCK = "block"

Mask = NDArray[np.bool_]
RowOf: TypeAlias = Callable[[Mask], str]  # names the first row of a mask
Holds: TypeAlias = Callable[[pa.Table, RowOf], Mask]


@dataclass(frozen=True)
class Where:
    """A condition on rows; `types` are DuckDB's, of the columns that it names: they hold the values of all parts."""

    sql: str
    types: dict[str, str]

    @classmethod
    def of(cls, config: RankerConfig, parts: Sequence[Part], pseudonyms: bool) -> "Where | None":
        """The config's condition, if there is one; `pseudonyms` says whether the graph has them in place of ids.

        Raises ConfigError for what is no condition on the log's rows, or asks for ids where the graph has none,
        DataError for parts in which a column's types disagree.
        """
        if config.where is None:
            return None
        hidden = set(config.graph_slots) if pseudonyms else set()
        with closing(_locked_engine()) as engine:
            expression = parse(engine, config.where, PATH)
            parts = filled(parts)
            columns = resolve(expression, parts[0].columns, SOURCE)
            if ids := sorted(hidden & set(columns)):
                raise ConfigError(f"{PATH}: column '{ids[0]}' holds ids, of which graph.ids leaves pseudonyms only")
            types = _common_types(engine, parts, columns)
            check_types(engine, expression, types, "a boolean", SOURCE, declarable=False)
        return cls(config.where, types)

    @contextmanager
    def opened(self) -> Iterator[Holds]:
        """What says of the rows of a table, (N,), whether the condition is true; NULL is not.

        It raises DataError for a row of which the condition has no value.
        """
        with closing(_locked_engine()) as engine:
            yield lambda table, row: self._holds(engine, table, row)

    def _holds(self, engine: Engine, table: pa.Table, row: RowOf) -> Mask:
        """One value for every row, in no condition of DuckDB's: neither it nor Arrow chooses which rows to look at."""
        rows = self._rows(engine, table)
        try:
            return _mask(engine, f"SELECT CAST(({self.sql}) AS BOOLEAN) IS TRUE FROM {rows}")
        except NoValue as error:
            without = _mask(engine, f"SELECT TRY({{'value': ({self.sql})}}) IS NULL FROM {rows}")
            expected = "expected a value for every row, or TRY_CAST"
            raise DataError(f"{row(without)}: {PATH}: {error}; {expected}") from error

    def _rows(self, engine: Engine, table: pa.Table) -> str:
        """SQL of the named columns of a table, in the types that all parts have in common."""
        if not self.types:
            return f"range({len(table)})"
        _show(engine, table, list(self.types))
        columns = ", ".join(f"CAST({quoted(name)} AS {kind}) AS {quoted(name)}" for name, kind in self.types.items())
        return f"(SELECT {columns} FROM {_BLOCK})"


def unchecked(config: RankerConfig, root: Path, pseudonyms: bool) -> list[str]:
    """See `ranker.check_where`."""
    if config.where is not None:
        with closing(_locked_engine()) as engine:
            parse(engine, config.where, PATH)  # whatever the log is like
    if any(map(is_url, config.patterns)):
        return [f"{PATH}, whose columns come from a store"]
    try:
        Where.of(config, file_parts(config, root), pseudonyms)
    except DataError as error:
        return [f"{PATH}, whose columns come from the log ({error.lines[0]})"]
    return []


def _locked_engine() -> Engine:
    """On one thread, so that rows stay in order; it reads no files."""
    engine = Engine(None, _MEMORY, threads=1, asks=PATH)
    engine.lock([], [])
    return engine


def _common_types(engine: Engine, parts: Sequence[Part], columns: list[str]) -> dict[str, str]:
    """Of parts that lack a column, nothing is said here."""
    found: dict[str, tuple[str, str]] = {}
    for part in parts:
        for name in (name for name in columns if name in part.types):
            kind = _type(engine, part, name)
            before, other = found.get(name, (NO_TYPE, part.name))
            common = kind if before == NO_TYPE else wider(before, kind)
            if common is None:
                told = f"column '{name}' is {kind}, but {before} in {other}"
                raise DataError(f"{part.name}: {told}; the files of ranker.impressions agree")
            found[name] = (common, part.name if before == NO_TYPE else other)
    return {name: kind for name, (kind, _) in found.items()}


def _type(engine: Engine, part: Part, name: str) -> str:
    try:
        _show(engine, pa.schema([(name, part.types[name])]).empty_table(), [name])
        return engine.columns(f"SELECT * FROM {_BLOCK}")[name]
    except (DataError, pa.ArrowException) as error:
        raise DataError(f"{part.name}: column '{name}' is {part.types[name]}, which {PATH} cannot read") from error


def _show(engine: Engine, table: pa.Table, columns: list[str]) -> None:
    """Lets DuckDB see some columns of a table; a dictionary's values as they are, since each block has its own."""
    shown = table.select(columns)
    for at, field in enumerate(shown.schema):
        if pa.types.is_dictionary(field.type):
            shown = shown.set_column(at, field.name, shown.column(at).cast(field.type.value_type))
    with translated(PATH):
        engine.connection.register(_BLOCK, shown)


def _mask(engine: Engine, sql: str) -> Mask:
    values = [batch.column(0).to_numpy(zero_copy_only=False) for batch in engine.batches(sql, 1 << 16)]
    found: Mask = np.concatenate(values) if values else np.zeros(0, np.bool_)
    return found
