"""A `where` or `weight`: one expression over the columns of a row, and nothing else.

DuckDB's own parser gives its tree. What may stand in it is listed, so that no expression reads a file, runs a second
statement, or depends on the clock, on chance or on other rows.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from artifacts.errors import ConfigError
from artifacts.expressions.engine import Engine
from artifacts.section import did_you_mean

Node = dict[str, Any]

_ALLOWED = {
    "BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT", "FUNCTION", "OPERATOR",
    "TYPE",
}  # fmt: skip
# These read the clock, though DuckDB 2.0.0 says that they are functions of their arguments.
_CLOCK = {"age", "current_localtime", "current_localtimestamp"}
FUNCTION_OF_THE_ROW = "expected one SQL expression over the columns of a row"


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
    for node in nodes_of(tree):
        if node["class"] not in _ALLOWED or node["type"] == "GROUPING_FUNCTION":
            raise ConfigError(f"{path}: {_named(node)}; {FUNCTION_OF_THE_ROW}")
        if node["class"] == "FUNCTION":
            _check_function(engine, node, path)
    return Expression(path, sql, tree, tuple(sorted(_columns(tree))))


def _tree(engine: Engine, sql: str, path: str) -> Node:
    (serialized,) = engine.connection.execute("SELECT json_serialize_sql(?)", [f"SELECT ({sql})"]).fetchall()[0]
    parsed = json.loads(serialized)
    if parsed["error"]:
        raise ConfigError(f"{path}: {one_line(parsed['error_message'])}; {FUNCTION_OF_THE_ROW}")
    node = parsed["statements"][0]["node"]
    whole = node["type"] == "SELECT_NODE" and not node["modifiers"] and node["from_table"]["type"] == "EMPTY"
    clauses = ("where_clause", "group_expressions", "having", "qualify", "sample")
    if len(parsed["statements"]) > 1 or not whole or len(node["select_list"]) > 1 or any(map(node.get, clauses)):
        raise ConfigError(f"{path}: more than an expression; {FUNCTION_OF_THE_ROW}")
    tree: Node = node["select_list"][0]
    return tree


def nodes_of(tree: Any) -> Iterator[Node]:
    """Every node of a tree that is an expression, the tree itself first."""
    if isinstance(tree, dict):
        if "class" in tree:
            yield tree
        tree = list(tree.values())
    for child in tree if isinstance(tree, list) else ():
        yield from nodes_of(child)


def _columns(tree: Node) -> set[str]:
    return {node["column_names"][0] for node in nodes_of(tree) if node["class"] == "COLUMN_REF"}


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
            raise ConfigError(f"{path}: {_named(node)}; {FUNCTION_OF_THE_ROW}")
    if not overloads or node.get("schema") or node.get("filter") or node.get("distinct"):
        near = did_you_mean(name, _scalar_functions(engine)) if not overloads else ""
        raise ConfigError(f"{path}: unknown function '{name}'{near.partition(' (')[0]}; {FUNCTION_OF_THE_ROW}")


def _scalar_functions(engine: Engine) -> list[str]:
    rows = engine.rows("SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = 'scalar'")
    return [row[0] for row in rows]


def resolve(expression: Expression, known: Iterable[str], source: str) -> list[str]:
    """The columns of the source that an expression names; SQL does not tell cases apart. Raises ConfigError."""
    folded: dict[str, list[str]] = {}
    for name in dict.fromkeys(known):  # a column may be stored and named by the directories
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


def one_line(text: str) -> str:
    """The first paragraph of DuckDB's message, on one line."""
    return " ".join(text.partition("\n\nLINE")[0].partition("Candidate functions")[0].split())
