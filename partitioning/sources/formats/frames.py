"""Sources given as tables in memory in place of their files."""

from collections.abc import Mapping
from typing import TypeAlias

import pyarrow as pa

from artifacts.errors import ConfigError
from artifacts.expressions.engine import Engine, literal, quoted, translated
from artifacts.section import did_you_mean
from artifacts.sources.frame import Frame, arrow_table
from partitioning.config.sections import GraphConfig
from partitioning.sources.layout import Opened, free_names, require_column
from partitioning.sources.pseudonyms import replaced
from partitioning.sources.used import Use

Frames: TypeAlias = Mapping[str, pa.Table]  # by source


def frame_label(source: str) -> str:
    """What errors call a source that is a frame, as they call others by their files."""
    return f"source '{source}'"


def source_frames(config: GraphConfig, sources: Mapping[str, Frame]) -> Frames:
    """The tables that stand for sources of the config, by name.

    Raises ConfigError for a name that the config does not know and for a graph with append-only sources, whose ledger
    tells by their files what it has counted; DataError for a frame that cannot become an Arrow table.
    """
    names = list(config.sources)
    lines = [f"sources: unknown source '{name}'{did_you_mean(name, names)}" for name in sources if name not in names]
    if sources and config.append_only:
        lines.append("sources: a graph with append_only sources keeps a ledger of files; expected no frames")
    if lines:
        raise ConfigError(*lines)
    return {name: arrow_table(frame_label(name), frame) for name, frame in sources.items()}


def attach(engine: Engine, source: str, table: pa.Table) -> str:
    """Lets DuckDB see a frame, without a copy; returns its SQL name."""
    view = f"frame_{source}"
    with translated():
        engine.connection.register(view, table)
    return quoted(view)


def open_frame(engine: Engine, name: str, frame: pa.Table, use: Use) -> Opened:
    """Reads the used columns into a table: so conditions are DuckDB's alone, and none is handed to Arrow."""
    view, label = attach(engine, name, frame), frame_label(name)
    types = engine.columns(f"SELECT * FROM {view}")
    columns = use.columns(list(types), name)
    for column in columns:
        require_column(label, column, types)
    place, table = free_names(columns), quoted(f"source_{name}")
    kept = ", ".join(map(quoted, columns)) or "1"
    select = replaced(use.hashed)
    engine.run(f"CREATE TEMP TABLE {table} AS {select} FROM (SELECT {kept} FROM {view})")
    file, row = map(quoted, place)
    reader = f"({select} FROM (SELECT {kept}, {literal(label)} AS {file}, row_number() OVER () AS {row} FROM {view}))"
    return Opened({column: types[column] for column in columns}, table, reader, place)
