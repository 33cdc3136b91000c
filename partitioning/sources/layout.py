"""What an opened source is, whatever its format: SQL of its rows, and of the same rows with their places."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from artifacts.errors import DataError
from artifacts.expressions.engine import Engine, literal, quoted
from artifacts.section import did_you_mean
from artifacts.sources.source_files import Files


@dataclass(frozen=True)
class Opened:
    """A source as its format has it.

    Attributes:
        types: of the columns that are used
        table: what follows FROM
        reader: the same rows with `file` and `row` (from 1, not counting a header) for error messages
        place: the names of these two columns, which no column that is used has
    """

    types: dict[str, str]
    table: str
    reader: str
    place: tuple[str, str]


def free_names(taken: Iterable[str]) -> tuple[str, str]:
    """Names for the columns `file` and `row` that are not taken."""
    folded, more = {name.casefold() for name in taken}, ""
    while {f"file{more}", f"row{more}"} & folded:
        more += "_"
    return f"file{more}", f"row{more}"


def key_of(files: Files, column: str, file_index: str) -> str:
    """SQL of what the directories say of a column, as text, for the file at a position among those that were given."""
    values = [keys.get(column) for keys in files.values()]
    if len(set(values)) == 1:
        return "CAST(NULL AS VARCHAR)" if values[0] is None else literal(values[0])
    texts = ", ".join("NULL" if value is None else literal(value) for value in values)
    return f"CAST([{texts}] AS VARCHAR[])[CAST({file_index} AS BIGINT) + 1]"


def file_of(files: Iterable[Path], file_index: str) -> str:
    """SQL of the name of the file at a position among those that were given."""
    return f"{literal([str(path) for path in files])}[CAST({file_index} AS BIGINT) + 1]"


def require_column(label: str, column: str, known: Iterable[str]) -> None:
    """Raises DataError unless what `label` names, a file with its directories or a frame, has a column."""
    names = list(known)
    if column not in names:
        near = did_you_mean(column, names)
        listed = "" if near.startswith(" (") else f" (known: {', '.join(sorted(names))})"
        raise DataError(f"{label} has no column '{column}'{near}{listed}")


def require_same_key(engine: Engine, rows: str, column: str, kind: str, key: str, place: tuple[str, str]) -> None:
    """Raises DataError for the first of `rows` whose stored column is not what its directory says."""
    file, row = map(quoted, place)
    other = f"{quoted(column)} IS DISTINCT FROM TRY_CAST({quoted(key)} AS {kind})"
    found = engine.rows(f"SELECT {file}, {row}, {quoted(column)}, {quoted(key)} FROM {rows} WHERE {other} LIMIT 1")
    for path, number, stored, named in found:
        raise DataError(
            f"{path}, row {number}: column '{column}' has '{stored}', but its directory says {column}={named}; "
            "rename one of the two, or name files below one such directory"
        )
