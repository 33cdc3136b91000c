"""DuckDB's types of columns, and the one that holds the values of two, where files have a column in both."""

import re

NO_TYPE = '"NULL"'  # of a column without a single value
INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
UNSIGNED = tuple(f"U{name}" for name in INTEGERS)
FLOATS = ("FLOAT", "DOUBLE")
_TIMESTAMP = "TIMESTAMP WITH TIME ZONE"
_DECIMAL = re.compile(r"DECIMAL\((\d+),(\d+)\)")
_MOST_DIGITS = 38


def wider(one: str, other: str, role: str | None = None) -> str | None:
    """The wider type; None where values would change, or ids of one entity would differ as text.

    `role` is what the column is for: "time", another whose values are compared as text, or None: expressions.
    """
    if other in (one, NO_TYPE):
        return one
    for family in (INTEGERS, UNSIGNED):
        if one in family and other in family:
            return max(one, other, key=family.index)
    integers = (*INTEGERS, *UNSIGNED)
    if one in integers and other in integers:
        return "HUGEINT"
    if role is None and one in (*integers, *FLOATS) and other in (*integers, *FLOATS):
        return "DOUBLE"
    if role == "time" and one.startswith("TIMESTAMP") and other.startswith("TIMESTAMP"):
        return _TIMESTAMP
    return _wider_decimal(one, other) if role is None else None


def _wider_decimal(one: str, other: str) -> str | None:
    """Arrow gives decimals as many digits as the values of a file need."""
    found = _DECIMAL.fullmatch(one), _DECIMAL.fullmatch(other)
    sizes = [(int(each[1]) - int(each[2]), int(each[2])) for each in found if each]
    if len(sizes) < 2:
        return None
    whole, fraction = (max(size) for size in zip(*sizes, strict=True))
    return f"DECIMAL({whole + fraction},{fraction})" if whole + fraction <= _MOST_DIGITS else None
