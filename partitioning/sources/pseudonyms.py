"""Ids replaced by pseudonyms while they are read (`graph.ids`), so that no table that may spill holds them."""

from artifacts.expressions.engine import Engine, quoted
from artifacts.pseudonyms import pads, read_key
from partitioning.config.sections import GraphConfig

_PADS = ("inner_pad", "outer_pad")


def know_key(engine: Engine, config: GraphConfig) -> None:
    """Gives the engine the key, if the config asks for pseudonyms: as variables, so that it stands in no SQL.

    Raises ConfigError where the environment has none.
    """
    if config.ids is None:
        return
    inner, outer = pads(read_key(config.ids.key_env, "graph.ids.key_env"))
    for name, pad in zip(_PADS, (inner, outer), strict=True):
        engine.run(f"SET VARIABLE {name} = unhex('{pad.hex()}')")


def forget_key(engine: Engine) -> None:
    """Takes the key from the engine, once all ids are pseudonyms in tables: before SQL of the config is run, which
    could select it, or have it repeated by an error."""
    for name in _PADS:
        engine.run(f"RESET VARIABLE {name}")


def pseudonym_of(text: str) -> str:
    """SQL of the pseudonym of a text, null for null; `artifacts.pseudonyms` in DuckDB's words."""
    inner = f"unhex(sha256(getvariable('inner_pad') || encode({text})))"
    return f"sha256(getvariable('outer_pad') || {inner})"


def replaced(columns: set[str]) -> str:
    """SQL that selects all columns, those with ids as pseudonyms."""
    ids = [f"{pseudonym_of(f'CAST({quoted(column)} AS VARCHAR)')} AS {quoted(column)}" for column in sorted(columns)]
    return f"SELECT * REPLACE ({', '.join(ids)})" if ids else "SELECT *"
