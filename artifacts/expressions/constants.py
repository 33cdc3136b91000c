"""Constants in quotes, which take on the type of what they are compared with: one that loses something is refused."""

from artifacts.errors import ConfigError
from artifacts.expressions.engine import Engine, literal
from artifacts.expressions.expression import Node

_EXACT = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "DECIMAL", "BIGNUM")
_NUMBERS = (*_EXACT, "FLOAT", "DOUBLE")
_MOMENTS = ("DATE", "TIMESTAMP")
_INSTANT = "TIMESTAMP WITH TIME ZONE"


def is_number(kind: str) -> bool:
    return kind.removeprefix("U").startswith(_NUMBERS)


def is_text_constant(node: Node) -> bool:
    return node["class"] == "CONSTANT" and node["literal"]["kind"] in ("STRING", "NULL")


def check_constants(engine: Engine, path: str, typed: list[tuple[Node, str]]) -> None:
    """Raises ConfigError for a text that is no value of the type it stands beside, or one that the cast would change.

    DuckDB takes '2.5' beside a BIGINT for 3, a time of day beside a DATE away, and the zone beside a TIMESTAMP.
    """
    kinds = [kind for node, kind in typed if not is_text_constant(node) and kind != '"NULL"']
    kinds = [kind for kind in kinds if not kind.endswith("]")]  # of a list it is an element
    for node, _ in typed:
        text = node["literal"].get("text") if is_text_constant(node) else None
        if kinds and text is not None and not any(_holds(engine, kind, text) for kind in kinds):
            raise ConfigError(f"{path}: '{text}' stands beside {kinds[0]}; {_way_out(engine, kinds[0], text)}")


def _holds(engine: Engine, kind: str, text: str) -> bool:
    """Whether a type has the value that a text says."""
    value, whole = f"TRY_CAST({literal(text)} AS {kind})", None
    if kind.removeprefix("U").startswith(_EXACT):
        whole = "DOUBLE"
    elif kind.startswith(_MOMENTS):
        whole = _INSTANT
    same = f"CAST({value} AS {whole}) = TRY_CAST({literal(text)} AS {whole})" if whole else f"{value} IS NOT NULL"
    return engine.row(f"SELECT {same}")[0] is True


def _way_out(engine: Engine, kind: str, text: str) -> str:
    if kind == "JSON":
        return "of JSON, expected a text of it, such as column ->> 'key'"
    if kind.startswith(_MOMENTS) and _holds(engine, _INSTANT, text):
        return f"write TIMESTAMPTZ {literal(text)}"
    if is_number(kind) and _holds(engine, "DOUBLE", text):
        return "write the number without quotes"
    return "expected a value of that type"
