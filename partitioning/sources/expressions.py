"""A `where` or `weight`: one expression over the columns of a row, and nothing else.

DuckDB's own parser gives its tree. What may stand in it is listed, so that no expression reads a file, runs a second
statement, or depends on the clock, on chance or on other rows. Its types must be those that it is used with, since
DuckDB would cast text to whatever it is compared with.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import duckdb

from artifacts.errors import ConfigError
from artifacts.section import did_you_mean
from partitioning.sources.engine import Engine, quoted

Node = dict[str, Any]

_ALLOWED = {
    "BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT", "FUNCTION", "OPERATOR",
    "TYPE",
}  # fmt: skip
_ALIKE = {"COMPARE_IN", "COMPARE_NOT_IN", "OPERATOR_COALESCE"}  # operators whose operands are brought to one type
_ALIKE_FUNCTIONS = {"greatest", "least", "nullif", "list_value"}
_CLOCK = {
    "age",
    "current_localtime",
    "current_localtimestamp",
}  # read the clock, though DuckDB 2.0.0 calls them consistent
_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL", "BIGNUM")
_TEXTS = ("VARCHAR", "JSON", "ENUM")
_FUNCTION_OF_THE_ROW = "expected one SQL expression over the columns of a row"


@dataclass(frozen=True)
class Expression:
    """An expression of the config, at `path` in it. `columns` are the columns that it names, as written."""

    path: str
    sql: str
    tree: Node
    columns: tuple[str, ...]


def parse(engine: Engine, sql: str, path: str) -> Expression:
    """Raises ConfigError for SQL that is not one expression, or that is more than a function of the row."""
    tree = _tree(engine, sql, path)
    for node in _nodes(tree):
        if node["class"] not in _ALLOWED or node["type"] == "GROUPING_FUNCTION":
            raise ConfigError(f"{path}: {_named(node)}; {_FUNCTION_OF_THE_ROW}")
        if node["class"] == "FUNCTION":
            _check_function(engine, node, path)
    return Expression(path, sql, tree, tuple(sorted(_columns(tree))))


def _tree(engine: Engine, sql: str, path: str) -> Node:
    (serialized,) = engine.connection.execute("SELECT json_serialize_sql(?)", [f"SELECT ({sql})"]).fetchall()[0]
    parsed = json.loads(serialized)
    if parsed["error"]:
        raise ConfigError(f"{path}: {_line(parsed['error_message'])}; {_FUNCTION_OF_THE_ROW}")
    node = parsed["statements"][0]["node"]
    whole = node["type"] == "SELECT_NODE" and not node["modifiers"] and node["from_table"]["type"] == "EMPTY"
    clauses = ("where_clause", "group_expressions", "having", "qualify", "sample")
    if len(parsed["statements"]) > 1 or not whole or len(node["select_list"]) > 1 or any(map(node.get, clauses)):
        raise ConfigError(f"{path}: more than an expression; {_FUNCTION_OF_THE_ROW}")
    tree: Node = node["select_list"][0]
    return tree


def _nodes(tree: Any) -> Iterator[Node]:
    """Every node of a tree that is an expression, the tree itself first."""
    if isinstance(tree, dict):
        if "class" in tree:
            yield tree
        tree = list(tree.values())
    for child in tree if isinstance(tree, list) else ():
        yield from _nodes(child)


def _columns(tree: Node) -> set[str]:
    return {node["column_names"][0] for node in _nodes(tree) if node["class"] == "COLUMN_REF"}


def _named(node: Node) -> str:
    name = node.get("function_name") or node["class"].lower().replace("_", " ")
    return f"'{name}' depends on more than the row"


def _check_function(engine: Engine, node: Node, path: str) -> None:
    """Raises ConfigError for a function that is not one of its arguments alone, macros looked into."""
    name = node["function_name"].lower()
    overloads = engine.connection.execute(
        "SELECT function_type, stability, macro_definition, parameters FROM duckdb_functions() WHERE function_name = ?",
        [name],
    ).fetchall()
    for kind, stability, definition, parameters in overloads:
        macro = parse(engine, definition, path) if kind == "macro" and node.get("schema") == "" else None
        pure = set(macro.columns) <= set(parameters) if macro else kind == "scalar" and stability == "CONSISTENT"
        if not pure or name in _CLOCK:
            raise ConfigError(f"{path}: {_named(node)}; {_FUNCTION_OF_THE_ROW}")
    if not overloads or node.get("schema") or node.get("filter") or node.get("distinct"):
        near = did_you_mean(name, _scalar_functions(engine)) if not overloads else ""
        raise ConfigError(f"{path}: unknown function '{name}'{near.partition(' (')[0]}; {_FUNCTION_OF_THE_ROW}")


def _scalar_functions(engine: Engine) -> list[str]:
    rows = engine.rows("SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = 'scalar'")
    return [row[0] for row in rows]


def resolve(expression: Expression, known: Iterable[str], source: str) -> list[str]:
    """The columns of the source that an expression names; SQL does not tell cases apart. Raises ConfigError."""
    folded: dict[str, list[str]] = {}
    for name in known:
        folded.setdefault(name.casefold(), []).append(name)
    found = []
    for column in expression.columns:
        names = folded.get(column.casefold(), [])
        if not names:
            near = did_you_mean(column, [name for names in folded.values() for name in names])
            raise ConfigError(f"{expression.path}: source '{source}' has no column '{column}'{near}")
        if len(names) > 1:
            raise ConfigError(
                f"{expression.path}: '{column}' may be any of the columns {', '.join(names)}; rename them"
            )
        found += names
    return found


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
        check(expression.path, list(zip(nodes, kinds, strict=True)), source, declarable)


Typed = list[tuple[Node, str]]  # parts of an expression, each with its type
Check = Callable[[str, Typed, str, bool], None]


def _checks(tree: Node) -> Iterator[tuple[Check, list[Node]]]:
    """What must be looked at in an expression: parts that are used as conditions, and parts that become one type."""
    for node in _nodes(tree):
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
    serialized = json.loads(engine.row("SELECT json_serialize_sql('SELECT 1')")[0])
    serialized["statements"][0]["node"]["select_list"] = nodes
    connection = engine.connection
    try:
        (select,) = connection.execute("SELECT json_deserialize_sql(?)", [json.dumps(serialized)]).fetchall()[0]
        return [row[1] for row in connection.execute(f"DESCRIBE {select} FROM (SELECT {columns})").fetchall()]
    except (duckdb.BinderException, duckdb.ParserException, duckdb.CatalogException) as error:
        texts = [name for name, kind in types.items() if kind == "VARCHAR" and _mentions(expression, name)]
        hint = f"; or {_declare(source, texts[0], 'DOUBLE')}" if texts and declarable else ""
        raise ConfigError(
            f"{expression.path}: {_line(str(error))}; {_FUNCTION_OF_THE_ROW} of '{source}'{hint}"
        ) from error


def _mentions(expression: Expression, column: str) -> bool:
    return column.casefold() in {name.casefold() for name in expression.columns}


def _condition(path: str, typed: Typed, source: str, declarable: bool) -> None:
    for node, kind in typed:
        if kind.startswith(_TEXTS) and node["class"] == "COLUMN_REF":
            raise ConfigError(_text_column(path, node, "used as a condition", "BOOLEAN", source, declarable))
        if kind not in ("BOOLEAN", '"NULL"') and not _is_number(kind):
            raise ConfigError(f"{path}: {_shown(node)} is {kind}; expected a condition, true or false")


def _cast(path: str, typed: Typed, source: str, declarable: bool) -> None:
    """Raises ConfigError for text made a boolean, unless nothing but a CAST can do it."""
    if declarable and any(kind.startswith(_TEXTS) for _, kind in typed):
        _condition(path, typed, source, declarable)


def _number(path: str, typed: Typed, source: str, declarable: bool) -> None:
    ((node, kind),) = typed
    if node["class"] == "COLUMN_REF" and kind == "VARCHAR":
        raise ConfigError(_text_column(path, node, "used as a number", "DOUBLE", source, declarable))
    if kind != '"NULL"' and not _is_number(kind):
        raise ConfigError(f"{path}: {_shown(node)} is {kind}; expected a number")


def _same(path: str, typed: Typed, source: str, declarable: bool) -> None:
    """Raises ConfigError for text beside another type; a constant in quotes takes on what it is compared with."""
    given = [(node, kind) for node, kind in typed if not _is_literal(node) and kind != '"NULL"']
    texts = [node for node, kind in given if kind.startswith(_TEXTS)]
    others = [kind for _, kind in given if not kind.startswith(_TEXTS)]
    if not texts or not others:
        return
    column = next((node for node in texts if node["class"] == "COLUMN_REF"), None)
    if column is None:
        raise ConfigError(
            f"{path}: {_shown(texts[0])} is text, compared with {others[0]}; expected a CAST of one of them"
        )
    kind = "DOUBLE" if _is_number(others[0]) else others[0] if others[0] in ("BOOLEAN", "DATE") else "TIMESTAMP"
    raise ConfigError(_text_column(path, column, f"compared with {others[0]}", kind, source, declarable))


def _is_number(kind: str) -> bool:
    return kind.removeprefix("U").startswith(_NUMBERS)


def _is_literal(node: Node) -> bool:
    return node["class"] == "CONSTANT" and node["literal"]["kind"] in ("STRING", "NULL")


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


def _line(text: str) -> str:
    """The first paragraph of DuckDB's message, on one line."""
    return " ".join(text.partition("\n\nLINE")[0].partition("Candidate functions")[0].split())
