"""Conditions of a config, as a person would write them."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.proposal.log import Log

# What DuckDB does not take for a column without quotes; a name too many does no harm.
_RESERVED = {
    *("all", "analyse", "analyze", "and", "any", "array", "as", "asc", "both", "case", "cast", "check", "collate"),
    *("column", "constraint", "create", "default", "desc", "describe", "distinct", "do", "else", "end", "except"),
    *("false", "fetch", "for", "foreign", "from", "group", "having", "in", "initially", "intersect", "into", "is"),
    *("lambda", "lateral", "leading", "left", "limit", "natural", "not", "null", "offset", "on", "only", "or", "order"),
    *(
        "pivot",
        "primary",
        "qualify",
        "references",
        "returning",
        "right",
        "select",
        "show",
        "some",
        "summarize",
        "table",
    ),
    *("then", "to", "trailing", "true", "union", "unique", "unpivot", "using", "variadic", "when", "where", "window"),
    *("with", "user", "current_user", "between", "like", "values", "interval", "exists", "row", "map", "struct"),
}


def name_of(column: str) -> str:
    """A column in SQL, quoted where it must be."""
    if re.fullmatch(r"[a-z_][a-z0-9_]*", column) and column not in _RESERVED:
        return column
    return '"' + column.replace('"', '""') + '"'


def equals(log: "Log", column: str, value: str) -> str:
    """That a column has a value, which is given as text."""
    found = log.profile.columns[column]
    if found.type == "BOOLEAN":
        return name_of(column) if value == "true" else f"NOT {name_of(column)}"
    text = value if found.whole and not log.is_text(column) else "'" + value.replace("'", "''") + "'"
    return f"{name_of(column)} = {text}"


def is_in(log: "Log", column: str, values: Sequence[str]) -> str:
    """That a column has one of some values."""
    if len(values) == 1:
        return equals(log, column, values[0])
    texts = (equals(log, column, value).partition(" = ")[2] for value in values)
    return f"{name_of(column)} IN ({', '.join(texts)})"


def true(log: "Log", column: str) -> str:
    """That a column of 0 and 1, or of false and true, says yes."""
    values = log.profile.columns[column].values
    return equals(log, column, "1" if "1" in values or "0" in values else "true")


def filled(log: "Log", column: str) -> str | None:
    """That a column has a value; None where all rows have one."""
    ((_, (rows, found)),) = log.profile.counts(None, [column])
    return f"{name_of(column)} IS NOT NULL" if found < rows else None


def all_of(*conditions: str | None) -> tuple[str, ...]:
    return tuple(one for one in conditions if one)
