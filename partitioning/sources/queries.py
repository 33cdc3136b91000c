"""The SQL of a check: one SELECT over the sources by name."""

import json
from collections.abc import Iterable
from typing import Any

from artifacts.errors import ConfigError
from artifacts.expressions.engine import Engine
from artifacts.section import did_you_mean


def query_tables(engine: Engine, sql: str, path: str, sources: Iterable[str]) -> set[str]:
    """The sources that a query reads. Raises ConfigError unless it is one SELECT that reads nothing else."""
    nodes = list(_nodes(_parsed(engine, sql, path)))
    if any(node.get("type") == "TABLE_FUNCTION" for node in nodes):
        raise ConfigError(f"{path}: reads something else than the sources; expected one SELECT over them by name")
    own = {entry["key"] for node in nodes for entry in (node.get("cte_map") or {}).get("map", ())}
    found = {node["table_name"] for node in nodes if node.get("type") == "BASE_TABLE"} - own
    for name in sorted(found.difference(sources)):
        raise ConfigError(f"{path}: unknown source '{name}'{did_you_mean(name, list(sources))}")
    return found


def query_columns(engine: Engine, sql: str, path: str) -> set[str] | None:
    """What may be a column in a query, lower case; None where it reads all of them."""
    nodes = list(_nodes(_parsed(engine, sql, path)))
    # count(*) is a function of its own and reads none.
    if any(node.get("class") == "STAR" for node in nodes):
        return None
    return {name.casefold() for node in nodes if node.get("class") == "COLUMN_REF" for name in node["column_names"]}


def _parsed(engine: Engine, sql: str, path: str) -> dict[str, Any]:
    (serialized,) = engine.connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()[0]
    parsed: dict[str, Any] = json.loads(serialized)
    if parsed["error"] or len(parsed["statements"]) != 1:
        reason = parsed.get("error_message") or "several statements"
        raise ConfigError(f"{path}: {' '.join(reason.split())}; expected one SELECT")
    return parsed


def _nodes(tree: Any) -> Iterable[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        tree = list(tree.values())
    for child in tree if isinstance(tree, list) else ():
        yield from _nodes(child)
