"""Parquet files scored in a stream: the columns that say which rows they are, and what the model predicts."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.errors import ConfigError, DataError
from artifacts.files.intact import file_digest
from artifacts.files.replaced import replaced
from artifacts.sources.source_files import find_files
from ranker.data.ids.attributes import Attributes
from ranker.data.log.block import LogBlock
from ranker.data.log.parts import FilePart
from ranker.data.log.schemas import filled
from ranker.scoring.columns import require_kinds, require_there
from ranker.scoring.manifest import PREDICTIONS, Manifest
from ranker.scoring.scorer import Predictions, Scorer

BLOCK_ROWS = 1 << 16  # rows that are read, scored and written together
PREFIX = "p_"  # of a prediction's column: the log's labels have the plain names

Progress = Callable[[float], None]


def score_files(
    directory: Path,
    source: str,
    out: Path,
    export: Path | None,
    of_graph: Callable[[], Attributes | None],
    id_key: bytes | None,
    progress: Progress,
) -> int:
    """Writes `out`, a row for each row of `source` in its order; returns how many.

    `source` is a Parquet file, a directory or a glob, from the current directory. `export` is what the model is to have
    read, if it reads any, and `of_graph` is asked for the slots with `of` where a file lacks such a column. `out`
    appears whole or stays what it was. Raises DataError for a model of another export and for rows that cannot be
    scored, ConfigError where `out` is one of the files that are read.
    """
    require_export(directory, export)
    scorer, parts = Scorer(directory, id_key), _parts(source)
    if any(out.resolve() == Path(part.name).resolve() for part in parts):
        raise ConfigError(f"{out}: is also read; expected another file for the predictions")
    derived = [name for name, slot in scorer.manifest.slots.items() if slot.of]
    attributes = None if all(name in part.columns for part in parts for name in derived) else of_graph()
    made = frozenset(attributes.rows if attributes else ())
    for part in parts:
        wanted = scorer.wanted(part.columns)
        read = {name: kind for name, kind in wanted.items() if name in part.columns or name not in made}
        require_kinds(part.name, part.columns, part.types, read)
    keys, total, done = key_columns(scorer.manifest, parts), max(sum(part.rows for part in parts), 1), 0
    with replaced(out) as file, pq.ParquetWriter(file, _schema(scorer.manifest, keys)) as writer:
        for block in _blocks(parts, lambda part: [*dict.fromkeys([*scorer.wanted(part.columns), *keys])]):
            rows = scorer.with_graph_ids(block)
            found = scorer.score_block(rows if attributes is None else attributes.joined(rows))
            writer.write_table(_scored(block, keys, found))
            done += len(block.table)
            progress(done / total)
    return done


def require_export(directory: Path, export: Path | None) -> None:
    """Raises DataError where a model reads another export than the given one."""
    identity = Manifest.of(directory).export
    if identity and (export is None or file_digest(export) != identity.sha256):
        raise DataError(
            f"{directory}: made with another export (run {identity.run_id}) than {export}; run `transra fit` again"
        )


def key_columns(manifest: Manifest, parts: list[FilePart]) -> dict[str, pa.DataType]:
    """What tells rows apart: ids that are no lists, and the time where there is one, with their types in the files.

    The time, and an id that the graph may say of another (`of`), are left out where a file has no column of it.
    """
    types = parts[0].types
    names = [name for name, slot in manifest.slots.items() if slot.cap is None]
    free = {manifest.time_column, *(name for name in names if manifest.slots[name].of)}
    names += [manifest.time_column]
    names = [name for name in names if name not in free or all(name in part.columns for part in parts)]
    for part in parts:
        require_there(part.name, part.columns, dict.fromkeys(names, "an id or the time"))
        for name in names:
            if part.types[name] != types[name]:
                found = f"column {name} is {part.types[name]}, but {types[name]} in {parts[0].name}"
                raise DataError(f"{part.name}: {found}; files that are scored together agree")
    return {name: types[name] for name in names}


def _parts(source: str) -> list[FilePart]:
    files, missing = find_files(Path(), [source], (".parquet", ".pq"))
    if missing:
        raise DataError(f"{source}: no Parquet files")
    return filled([FilePart(path, keys) for path, keys in files.items()])


def _blocks(parts: list[FilePart], columns: Callable[[FilePart], list[str]]) -> Iterator[LogBlock]:
    for part in parts:
        first = 0
        for table in part.batches(columns(part), BLOCK_ROWS):
            yield LogBlock(part.name, first, table)
            first += len(table)


def _schema(manifest: Manifest, keys: dict[str, pa.DataType]) -> pa.Schema:
    predicted = [(PREFIX + PREDICTIONS[task], pa.float64()) for task in manifest.tasks]
    return pa.schema([*keys.items(), *predicted])


def _scored(block: LogBlock, keys: dict[str, pa.DataType], found: Predictions) -> pa.Table:
    columns: dict[str, Any] = {name: block.table.column(name) for name in keys}
    return pa.table({**columns, **{PREFIX + name: pa.array(values) for name, values in found.items()}})
