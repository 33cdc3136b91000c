"""Labels: what a person reads beside an id, looked up in a source once the ids of a graph are known.

Read are labels of ids that are in the graph, and of no others: who is to be forgotten, or did not agree, leaves none.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from artifacts.expressions.engine import Engine, literal, quoted, text
from artifacts.machine.resources import cpu_count
from artifacts.sources.source_files import Files
from partitioning.config.sections import GraphConfig, LabelConfig
from partitioning.entities.entity_map import EntityMap
from partitioning.entities.id_files import write_labels
from partitioning.entities.published_ids import published_rows
from partitioning.sources.formats.frames import Frames
from partitioning.sources.table import Source, open_used
from partitioning.sources.used import used_for_labels

LETTERS = 200  # of a label that are kept: it is a name, and no text
_SEEN = r"[^\s\pZ\pC]"  # a character that is neither space, control nor format, such as a zero-width space
_BATCH = 1 << 18


class Labelled(NamedTuple):
    """How many ids of a type have a label, and how many of them had several."""

    found: int
    several: int


class LabelReader:
    """Reads labels from files, or from tables in place of them, by DuckDB within `graph.memory_limit`."""

    def __init__(self, config: GraphConfig, files: dict[str, Files], frames: Frames, spill: Path) -> None:
        self._config, self._files, self._frames, self._spill = config, files, frames, spill

    def check(self) -> None:
        """Before hours of work: raises DataError for a column that a source does not have, or that is no text."""
        if self._config.labels:
            with self._opened(self._spill, staged=False):
                pass

    def write(self, directory: Path, entities: dict[str, EntityMap]) -> dict[str, Labelled]:
        """Writes the labels of the graph in `directory`, whose entity map is written; counts them by type."""
        found = {}
        if self._config.labels:
            with self._opened(directory, staged=True) as (engine, sources):
                for type, label in self._config.labels.items():
                    found[type] = _write(engine, sources.get(label.source), label, directory, entities[type])
        return found

    @contextmanager
    def _opened(self, directory: Path, staged: bool) -> Iterator[tuple[Engine, dict[str, Source]]]:
        config, uses = self._config, used_for_labels(self._config)
        engine = Engine(self._spill / "labels", config.memory_bytes, config.threads or cpu_count())
        engine.lock((path for name in uses for path in self._files.get(name, ())), [self._spill, directory])
        try:
            yield engine, open_used(engine, config, uses, self._files, self._frames, staged=staged)
        finally:
            engine.close()


def _write(engine: Engine, source: Source | None, label: LabelConfig, directory: Path, entities: EntityMap) -> Labelled:
    """Of an id with several labels, the first by code point: whatever the order of rows, files and threads."""
    ids, table = published_rows(directory, entities.type), quoted(f"labels {entities.type}")
    named = f"SELECT {text(label.column)} AS id, left({text(label.text)}, {LETTERS}) AS label"
    rows = f"{named} FROM {source.table}" if source else "SELECT '' AS id, '' AS label WHERE false"
    engine.run(
        f"CREATE TEMP TABLE {table} AS SELECT id, min(label) AS label, min(label) <> max(label) AS several "
        f"FROM ({rows}) SEMI JOIN ({ids}) USING (id) WHERE regexp_matches(label, {literal(_SEEN)}) GROUP BY id"
    )
    by_place = f"SELECT label FROM ({ids}) LEFT JOIN {table} USING (id) ORDER BY part, id_offset"
    with closing(engine.batches(by_place, _BATCH)) as batches:
        write_labels(entities, batches, directory)
    return Labelled(*engine.row(f"SELECT count(*), count(*) FILTER (several) FROM {table}"))
