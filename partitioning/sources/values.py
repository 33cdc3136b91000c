"""SQL that reads text as what the config says it is; what is no such thing gives NULL, so that it can be named."""

from partitioning.config.sections import ColumnType, TimeUnit

EXPECTED = {
    "BIGINT": "an integer",
    "DOUBLE": "a finite number",
    "BOOLEAN": "true or false",
    "TIMESTAMP": "an ISO date or time",
    "DATE": "an ISO date",
    "TIMESTAMP WITH TIME ZONE": "an ISO date or time",
}
MARK = "a value is not of its type"  # in the error of a query
_INTEGER = r"\s*[+-]?[0-9]+\s*"
_DATE = r"\s*[0-9]+-[0-9]+-[0-9]+\s*"


def typed(kind: ColumnType) -> str:
    """A text, {0}, as a value of a type: DuckDB's casts round 2.75 to 3, read 1_0 as 10 and forget a time's zone."""
    return {
        "BIGINT": f"CASE WHEN regexp_full_match({{0}}, '{_INTEGER}') THEN TRY_CAST({{0}} AS BIGINT) END",
        "DOUBLE": "CASE WHEN isfinite(TRY_CAST({0} AS DOUBLE)) AND NOT contains({0}, '_') THEN CAST({0} AS DOUBLE) END",
        "BOOLEAN": "TRY_CAST({0} AS BOOLEAN)",
        "TIMESTAMP": "TRY_CAST(TRY_CAST({0} AS TIMESTAMP WITH TIME ZONE) AS TIMESTAMP)",
        "DATE": f"CASE WHEN regexp_full_match({{0}}, '{_DATE}') THEN TRY_CAST({{0}} AS DATE) END",
        "VARCHAR": "{0}",
    }[kind]


def time_of(unit: TimeUnit | None, compared: bool = False) -> tuple[str, str]:
    """A text, {0}, as a time, and its type: whole units, or without a unit an ISO date or time.

    Fractions are floored, but none may be there where an expression would see them gone (`compared`).
    """
    if unit is None:
        return "TRY_CAST({0} AS TIMESTAMP WITH TIME ZONE)", "TIMESTAMP WITH TIME ZONE"
    whole = f"CASE WHEN regexp_full_match({{0}}, '{_INTEGER}') THEN TRY_CAST({{0}} AS BIGINT)"
    if compared:
        return f"{whole} END", "BIGINT"
    return f"{whole} ELSE TRY_CAST(floor(TRY_CAST({{0}} AS DOUBLE)) AS BIGINT) END", "BIGINT"


def required(text: str, value: str, kind: str) -> str:
    """A value that must be there where the text is: the query fails where it is not."""
    return f"CASE WHEN {text} IS NOT NULL THEN coalesce({value}, CAST(error('{MARK}') AS {kind})) END"
