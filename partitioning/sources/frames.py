"""Sources given as tables in memory in place of their files."""

from collections.abc import Mapping
from typing import TypeAlias

import pyarrow as pa

from artifacts.errors import ConfigError
from artifacts.frame import Frame, arrow_table
from artifacts.section import did_you_mean
from partitioning.config.sections import GraphConfig
from partitioning.sources.engine import Engine, literal, quoted, translated

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


def numbered(source: str, view: str) -> str:
    """SQL of a frame with columns `filename` and `row_in_file` (from 1), as the readers of files have them."""
    return f"(SELECT *, {literal(frame_label(source))} AS filename, row_number() OVER () AS row_in_file FROM {view})"
