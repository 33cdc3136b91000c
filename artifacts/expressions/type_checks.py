"""The types in a `where` or `weight`: those that they are used with, since DuckDB would cast text to what it meets."""

import json
from collections.abc import Callable, Iterator

import duckdb

from artifacts.errors import ConfigError
from artifacts.expressions.column_types import FLOATS
from artifacts.expressions.constants import check_constants, is_number, is_text_constant
from artifacts.expressions.engine import Engine, quoted
from artifacts.expressions.expression import FUNCTION_OF_THE_ROW, Expression, Node, nodes_of, one_line

_ALIKE = {"COMPARE_IN", "COMPARE_NOT_IN", "OPERATOR_COALESCE"}  # operators whose operands are brought to one type
_ALIKE_FUNCTIONS = {"greatest", "least", "nullif", "list_value"}
_TEXTS = ("VARCHAR", "JSON", "ENUM")


def check_types(
    engine: Engine, expression: Expression, types: dict[str, str], wanted: str, source: str, declarable: bool
) -> None:
    """Raises ConfigError where DuckDB would have to guess: text beside numbers, anything but a boolean as one.

    `types` are those of the columns, `wanted` is "a boolean" or "a number"; `declarable` says whether the config of the
    source may declare types.
    """
    top = _condition if wanted == "a boolean" else _number
    for check, nodes in (*reversed(list(_checks(expression.tree))), (top, [expression.tree])):  # from the inside out
        kinds = _kinds(engine, expression, nodes, types, source, declarable)
        typed = list(zip(nodes, kinds, strict=True))
        check(expression.path, typed, source, declarable)
        if check is _same:
            check_constants(engine, expression.path, typed)


def floats(
    engine: Engine, expression: Expression, types: dict[str, str], source: str, declarable: bool
) -> Iterator[str]:
    """The parts of an expression that may be NaN, as SQL: columns of floats, fields, and what is computed or cast."""
    nodes = [node for node in nodes_of(expression.tree) if node["class"] not in ("CONSTANT", "TYPE")]
    kinds = _kinds(engine, expression, nodes, types, source, declarable)
    for node in (node for node, kind in zip(nodes, kinds, strict=True) if kind in FLOATS):
        yield _select(engine, [node]).removeprefix("SELECT ")


Typed = list[tuple[Node, str]]  # parts of an expression, each with its type
Check = Callable[[str, Typed, str, bool], None]


def _checks(tree: Node) -> Iterator[tuple[Check, list[Node]]]:
    """What must be looked at in an expression: parts that are used as conditions, and parts that become one type."""
    for node in nodes_of(tree):
        arguments = [argument["expression"] for argument in node.get("arguments", ())]
        cases = node.get("case_checks", ())
        if node["class"] == "CONJUNCTION" or node["type"] == "OPERATOR_NOT":
            yield _condition, node["children"]
        elif node["class"] == "CAST" and node["type_expr"].get("type_name") == "BOOLEAN":  # IS TRUE is written so, too
            yield _cast, [node["child"]]
        elif node["class"] == "COMPARISON":
            yield _same, [node["left"], node["right"]]
        elif node["class"] == "BETWEEN":
            yield _same, [node["input"], node["lower"], node["upper"]]
        elif node["type"] in _ALIKE:
            yield _same, node["children"]
        elif node["class"] == "CASE":
            yield _condition, [case["when_expr"] for case in cases]
            yield _same, [*(case["then_expr"] for case in cases), node["else_expr"]]
        elif node.get("function_name") == "if":
            yield _condition, arguments[:1]
            yield _same, arguments[1:]
        elif node.get("function_name") in _ALIKE_FUNCTIONS:
            yield _same, arguments


def _kinds(
    engine: Engine, expression: Expression, nodes: list[Node], types: dict[str, str], source: str, declarable: bool
) -> list[str]:
    """The type of each part of an expression, as DuckDB finds it."""
    columns = ", ".join(f"CAST(NULL AS {kind}) AS {quoted(name)}" for name, kind in types.items()) or "1"
    try:
        described = engine.connection.execute(f"DESCRIBE {_select(engine, nodes)} FROM (SELECT {columns})")
        return [row[1] for row in described.fetchall()]
    except duckdb.Error as error:  # also of a constant that is none: a pattern, a format
        texts = [name for name, kind in types.items() if kind == "VARCHAR" and _mentions(expression, name)]
        hint = f"; or {_declare(source, texts[0], 'DOUBLE')}" if texts and declarable else ""
        raise ConfigError(
            f"{expression.path}: {one_line(str(error))}; {FUNCTION_OF_THE_ROW} of '{source}'{hint}"
        ) from error


def _select(engine: Engine, nodes: list[Node]) -> str:
    """SQL of a SELECT of these, without a FROM."""
    serialized = json.loads(engine.row("SELECT json_serialize_sql('SELECT 1')")[0])
    serialized["statements"][0]["node"]["select_list"] = nodes
    found = engine.connection.execute("SELECT json_deserialize_sql(?)", [json.dumps(serialized)]).fetchall()
    return str(found[0][0])


def _mentions(expression: Expression, column: str) -> bool:
    return column.casefold() in {name.casefold() for name in expression.columns}


def _condition(path: str, typed: Typed, source: str, declarable: bool) -> None:
    for node, kind in typed:
        if kind.startswith(_TEXTS) and node["class"] == "COLUMN_REF":
            raise ConfigError(_text_column(path, node, "used as a condition", "BOOLEAN", source, declarable))
        if kind in FLOATS:
            raise ConfigError(f"{path}: {_shown(node)} is {kind}, of which NaN would be true; write what it is, as = 1")
        if kind not in ("BOOLEAN", '"NULL"') and not is_number(kind):
            raise ConfigError(f"{path}: {_shown(node)} is {kind}; expected a condition, true or false")


def _cast(path: str, typed: Typed, source: str, declarable: bool) -> None:
    """Raises ConfigError for what is made a boolean: text, unless nothing but a CAST can do it, and floats."""
    if any(kind in FLOATS or (declarable and kind.startswith(_TEXTS)) for _, kind in typed):
        _condition(path, typed, source, declarable)


def _number(path: str, typed: Typed, source: str, declarable: bool) -> None:
    ((node, kind),) = typed
    if node["class"] == "COLUMN_REF" and kind == "VARCHAR":
        raise ConfigError(_text_column(path, node, "used as a number", "DOUBLE", source, declarable))
    if kind != '"NULL"' and not is_number(kind):
        raise ConfigError(f"{path}: {_shown(node)} is {kind}; expected a number")


def _same(path: str, typed: Typed, source: str, declarable: bool) -> None:
    """Raises ConfigError for text beside another type; a constant in quotes takes on what it is compared with."""
    given = [(node, kind) for node, kind in typed if not is_text_constant(node) and kind != '"NULL"']
    texts = [node for node, kind in given if kind.startswith(_TEXTS)]
    others = [kind for _, kind in given if not kind.startswith(_TEXTS)]
    if not texts or not others:
        return
    column = next((node for node in texts if node["class"] == "COLUMN_REF"), None)
    if column is None:
        raise ConfigError(
            f"{path}: {_shown(texts[0])} is text, compared with {others[0]}; expected a CAST of one of them"
        )
    kind = "DOUBLE" if is_number(others[0]) else others[0] if others[0] in ("BOOLEAN", "DATE") else "TIMESTAMP"
    raise ConfigError(_text_column(path, column, f"compared with {others[0]}", kind, source, declarable))


def _text_column(path: str, node: Node, use: str, kind: str, source: str, declarable: bool) -> str:
    name = node["column_names"][0]
    way_out = _declare(source, name, kind) if declarable else f"write CAST({name} AS {kind})"
    return f"{path}: column '{name}' of '{source}' is text, {use}; {way_out}"


def _declare(source: str, column: str, kind: str) -> str:
    return f'write graph.sources.{source}.types: {{ {column}: "{kind}" }}'


def _shown(node: Node) -> str:
    if node["class"] == "COLUMN_REF":
        return f"column '{'.'.join(node['column_names'])}'"
    return f"the {node.get('function_name') or node['class'].lower()}"
