"""What a log looks like before there is a config of it: columns and their values, which determines which, times.

Most is said of a sample, the first rows of up to ten files spread over the source. What a config is to rely on (values
of an action, missing ids, times) is counted over all rows, one column or a few at a time.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from artifacts.errors import DataError
from artifacts.expressions.column_types import INTEGERS, UNSIGNED
from artifacts.expressions.engine import Engine, file_list, literal, quoted, text
from artifacts.machine.resources import cpu_count
from artifacts.moment import YEAR_1990
from artifacts.sources.source_files import Files
from partitioning.config.sections import SourceConfig, TimeUnit
from partitioning.sources.epochs import epoch_of, needs_unit
from partitioning.sources.files import check_file, file_format
from partitioning.sources.formats.parquet import other_columns
from partitioning.sources.table import open_whole

MEMORY = 2_000_000_000  # bytes that a look may take, as graph.memory_limit counts them
SAMPLED_FILES, SAMPLED_ROWS = 10, 100_000
MOST_VALUES = 64  # of a column in the sample, beyond which only their number is told
YEAR_2100 = 4_102_444_800
_UNITS: dict[TimeUnit, int] = {"s": 1, "ms": 1000, "us": 1_000_000}
_WHOLE = (*INTEGERS, *UNSIGNED)


@dataclass(frozen=True)
class Column:
    """A column in the sample: its type in DuckDB, rows with a value, distinct values, and these where they are few.

    `whole` says that all values are whole numbers, `number` that all are numbers, `moments` that all are ISO times,
    each also as text; `unit` is that in which numbers, whole or of 64 bits with fractions, lie in 1990 to 2100.
    """

    name: str
    type: str
    filled: int
    distinct: int
    values: tuple[str, ...]
    whole: bool
    number: bool
    moments: bool
    unit: TimeUnit | None


class Strangers(NamedTuple):
    """Of so many `rows` of an end of time, those with a value that is new there, in `either` column and by column."""

    rows: int
    either: int
    by_column: dict[str, int]


class Profile:
    """A source, open for questions. Made by `profile_of`.

    `unread` are its columns that hold more than single values, or that not all Parquet files have, with what they are.
    """

    def __init__(
        self, engine: Engine, table: str, types: dict[str, str], sampled: str, unread: Mapping[str, str]
    ) -> None:
        self._engine, self._table, self._types = engine, table, types
        self._repeats: dict[str, bool] = {}  # by column; to count them takes a pass over all rows
        engine.run(f"CREATE TEMP TABLE sample AS SELECT * FROM ({sampled}) LIMIT {SAMPLED_ROWS}")
        self.rows = int(engine.row("SELECT count(*) FROM sample")[0])
        self.columns = {name: self._column(name, kind) for name, kind in types.items() if _is_plain(kind)}
        self.unread = {name: kind for name, kind in types.items() if not _is_plain(kind)} | {**unread}

    def _column(self, name: str, kind: str) -> Column:
        column, is_text = quoted(name), kind == "VARCHAR"
        tried = f"TRY_CAST({column} AS HUGEINT)" if is_text else column if kind in _WHOLE else "NULL"
        number = f"TRY_CAST({column} AS DOUBLE)" if is_text else "NULL"
        moment = f"TRY_CAST({column} AS TIMESTAMP WITH TIME ZONE)" if is_text else "NULL"
        epoch = _finite(column) if needs_unit(kind) and kind not in _WHOLE else tried
        counts = ", ".join(f"count({one})" for one in (tried, number, moment))
        found = self._engine.row(
            f"SELECT count({column}), count(DISTINCT {column}), {counts}, min({epoch}), max({epoch}) FROM sample"
        )
        filled, distinct, wholes, numbers, moments, least, most = found
        whole = filled > 0 and wholes == filled
        return Column(
            name=name,
            type=kind,
            filled=filled,
            distinct=distinct,
            values=self._values(name) if 0 < distinct <= MOST_VALUES else (),
            whole=whole,
            number=whole or (numbers == filled if is_text else not kind.startswith(("DATE", "TIME", "BOOL", "UUID"))),
            moments=filled > 0 and moments == filled and not whole,
            unit=_unit_of(least, most) if least is not None and (whole or needs_unit(kind)) else None,
        )

    def _values(self, column: str) -> tuple[str, ...]:
        rows = self._engine.rows(f"SELECT DISTINCT {text(column)} AS v FROM sample WHERE v IS NOT NULL ORDER BY v")
        return tuple(row[0] for row in rows)

    def example(self, column: str, pattern: str) -> str | None:
        """A value in the sample, as text, that a regular expression describes in full; None where there is none."""
        found = self._engine.row(
            f"SELECT min(v) FROM (SELECT {text(column)} AS v FROM sample) WHERE regexp_full_match(v, '{pattern}', 's')"
        )[0]
        return None if found is None else str(found)

    def some(self, column: str, most: int) -> list[str]:
        """Distinct values in the sample, as text, at most so many, drawn by a hash."""
        value = text(column)
        rows = self._engine.rows(
            f"SELECT DISTINCT {value} AS v, hash(v) AS h FROM sample WHERE v IS NOT NULL ORDER BY h, v LIMIT {most}"
        )
        return [row[0] for row in rows]

    def known(self, column: str, values: list[str]) -> int:
        """How many of some values, as text, a column has in any of all rows."""
        (known,) = self._engine.row(
            f"SELECT count(DISTINCT v) FROM (SELECT {text(column)} AS v FROM {self._table}) "
            f"WHERE v IN (SELECT unnest({literal(values)}))"
        )
        return int(known)

    def determined(self, column: str, by: str) -> int:
        """In how many rows of the sample a value of `by` occurs again, and always with the same value of `column`; 0
        where one occurs with two."""
        mine, other = quoted(column), quoted(by)
        both = f"FROM sample WHERE {mine} IS NOT NULL AND {other} IS NOT NULL"
        again, most = self._engine.row(
            f"SELECT coalesce(sum(n) - count(*), 0), coalesce(max(d), 0) FROM (SELECT count(*) AS n, "
            f"count(DISTINCT {mine}) AS d {both} GROUP BY {other})"
        )
        return int(again) if most == 1 else 0

    def names_rows(self, columns: Sequence[str]) -> bool:
        """Whether no two rows of the sample have the same values in some columns."""
        names = ", ".join(map(quoted, columns))
        rows, distinct = self._engine.row(f"SELECT count(*), count(DISTINCT ({names})) FROM sample")
        return bool(rows == distinct)

    def repeats(self, column: str) -> bool:
        """Whether a value occurs in more than one of all rows."""
        if column not in self._repeats:
            name = quoted(column)
            (repeats,) = self._engine.row(f"SELECT count({name}) > count(DISTINCT {name}) FROM {self._table}")
            self._repeats[column] = bool(repeats)
        return self._repeats[column]

    def counts(self, by: str | None, columns: Sequence[str], most: int = 200) -> list[tuple[str | None, list[int]]]:
        """Of all rows: for each value of `by` (or for all), how many there are and how many have each of `columns`.

        Most frequent first, at most so many; the value is text, None where it is missing.
        """
        value = text(by) if by else "NULL"
        counted = ", ".join(["count(*)", *(f"count({quoted(column)})" for column in columns)])
        rows = self._engine.rows(
            f"SELECT {value} AS v, {counted} FROM {self._table} GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {most}"
        )
        return [(row[0], list(row[1:])) for row in rows]

    def moments(self, column: str, unit: TimeUnit | None, parts: int) -> list[int]:
        """Epoch seconds that cut all rows into about `parts` equal parts, ends included and exact; [] without times."""
        epoch = epoch_of(column, unit, self._types[column])
        shares = [part / parts for part in range(1, parts)]
        least, most, inner = self._engine.row(
            f"SELECT min(t), max(t), approx_quantile(t, {shares}) FROM (SELECT {epoch} AS t FROM {self._table})"
        )
        return [] if least is None else [least, *sorted(min(max(int(one), least), most) for one in inner), most]

    def between(self, column: str, unit: TimeUnit | None, bounds: Sequence[int]) -> list[int]:
        """How many of all rows lie before, between and from `bounds`, ascending epoch seconds, on."""
        epoch = epoch_of(column, unit, self._types[column])
        counts = ", ".join([*(f"count(*) FILTER (t < {bound})" for bound in bounds), "count(t)"])
        *below, rows = self._engine.row(f"SELECT {counts} FROM (SELECT {epoch} AS t FROM {self._table})")
        ends = [0, *below, rows]
        return [after - before for before, after in zip(ends, ends[1:], strict=False)]

    def strangers(self, columns: Sequence[str], time: str, unit: TimeUnit | None, bounds: tuple[int, int]) -> Strangers:
        """Of all rows from the second of two epoch seconds on that have both of two columns, which have values that no
        row before the first has."""
        epoch = epoch_of(time, unit, self._types[time])
        names = [quoted(column) for column in columns]
        timed = f"SELECT {', '.join(names)}, {epoch} AS moment FROM {self._table}"
        strange = [
            f"{name} NOT IN (SELECT DISTINCT {name} FROM ({timed}) WHERE moment < {bounds[0]} AND {name} IS NOT NULL)"
            for name in names
        ]
        counts = ", ".join(f"count(*) FILTER ({one})" for one in [*strange, " OR ".join(strange)])
        filled = " AND ".join(f"{name} IS NOT NULL" for name in names)
        rows, *mine, either = self._engine.row(
            f"SELECT count(*), {counts} FROM ({timed}) WHERE moment >= {bounds[1]} AND {filled}"
        )
        return Strangers(rows, either, dict(zip(columns, mine, strict=True)))


@contextmanager
def profile_of(name: str, source: SourceConfig, files: Files) -> Iterator[Profile]:
    """See `partitioning.profile_of`."""
    format = file_format(name, source, files)
    for path in files:
        check_file(path, format)
    with TemporaryDirectory() as spill:
        engine = Engine(Path(spill), MEMORY, cpu_count())
        engine.lock(files, [Path(spill)])
        try:
            if format == "jsonl":
                table = f"read_ndjson({file_list(files)}, maximum_object_size = {16 << 20}, hive_partitioning = false)"
                yield Profile(engine, table, engine.columns(f"SELECT * FROM {table}"), f"SELECT * FROM {table}", {})
            else:
                opened = open_whole(engine, name, source, files)
                _require_header(files, format, opened.types)
                unread = other_columns(files) if format == "parquet" else {}
                yield Profile(engine, opened.table, opened.types, _sampled(engine, name, source, files), unread)
        finally:
            engine.close()


def _sampled(engine: Engine, name: str, source: SourceConfig, files: Files) -> str:
    """SQL of the first rows of some files, of the first, the last and those between."""
    paths, count = list(files), min(len(files), SAMPLED_FILES)
    chosen = [paths[at * (len(paths) - 1) // max(count - 1, 1)] for at in range(count)]
    tables = [open_whole(engine, name, source, {path: files[path]}).table for path in dict.fromkeys(chosen)]
    rows = -(-SAMPLED_ROWS // count)
    return " UNION ALL BY NAME ".join(f"(SELECT * FROM {table} LIMIT {rows})" for table in tables)


def _require_header(files: Files, format: str, columns: Sequence[str] | dict[str, str]) -> None:
    """Raises DataError for a text whose first line can only be data."""
    odd = next((name for name in columns if _is_number(name)), None)
    if format in ("csv", "tsv") and odd is not None:
        raise DataError(f"{next(iter(files))}, line 1: {odd!r} is no name of a column; expected a header")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _is_plain(kind: str) -> bool:
    """Whether a type is of single values: no list, struct or map."""
    return not kind.endswith("]") and not kind.startswith(("STRUCT", "MAP", "JSON", "UNION", "VARIANT"))


def _finite(column: str) -> str:
    """SQL of numbers with fractions: one that is not finite is no time, and says nothing of the others' unit."""
    number = f"CAST({column} AS DOUBLE)"
    return f"CASE WHEN isfinite({number}) THEN {number} END"


def _unit_of(least: float, most: float) -> TimeUnit | None:
    """The unit in which both lie in 1990 to 2100: the ranges of the units do not meet."""
    for unit, factor in _UNITS.items():
        if YEAR_1990 * factor <= least <= most < YEAR_2100 * factor:
            return unit
    return None
