"""`transra features`: a Parquet file of the log's rows, made aside and renamed once it is whole."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.errors import ConfigError, ResourceError
from artifacts.files.publish import sync
from artifacts.machine.resources import require_disk
from artifacts.sources.source_files import Files
from ranker.config.sections import RankerConfig
from ranker.data.ids.attributes import Attributes
from ranker.data.ids.exports import Export, open_exports
from ranker.data.ids.join import require_match_rates
from ranker.data.log.files import impression_files
from ranker.data.log.forgotten import Forgotten
from ranker.data.log.impression_log import ImpressionLog
from ranker.data.log.windows import Windows
from ranker.data.tabular.count_log import count_log
from ranker.data.tabular.counts import Counts
from ranker.features.rows import FeatureRows

MARK = b"transra_features"  # in the metadata of the files that are ours: the version of their columns
VERSION = b"1"
COUNTING = 0.3  # of the whole time, for the progress bar
Progress = Callable[[str, float], None]


def require_free(out: Path, config: RankerConfig, root: Path, files: Files | None = None) -> None:
    """Raises ConfigError unless `out` is free or an earlier output, and outside of the log; ResourceError where its
    directory cannot be written."""
    if not out.parent.is_dir():
        raise ConfigError(f"{out}: {out.parent} is no directory")
    if not os.access(out.parent, os.W_OK):
        raise ResourceError(f"{out.parent}: cannot be written; choose another file")
    if os.path.lexists(out) and not _is_ours(out):
        raise ConfigError(f"{out}: exists, and was not written by `transra features`; choose another file")
    named = {(root / pattern).resolve() for pattern in config.patterns}
    log = {path.resolve() for path in files or impression_files(config, root)}
    if any(out.resolve().is_relative_to(path.parent) for path in log - named):
        raise ConfigError(f"{out}: lies where ranker.impressions are, and would be read as some; choose another file")


def write_features(
    config: RankerConfig,
    root: Path,
    export: Mapping[str, Export],
    out: Path,
    progress: Progress,
    forgotten: Forgotten,
    id_key: bytes | None,
    files: Files | None,
) -> dict[str, Any]:
    """See `ranker.write_features`."""
    require_free(out, config, root, files)
    attributes = Attributes.of(config, export, forgotten)
    log = ImpressionLog(config, root, None, forgotten, id_key, files, attributes)
    windows = Windows.of(log)
    windows.check({name: one.window_end for name, one in export.items()})
    (opened,) = open_exports(export, config).values()
    with _aside(out) as (directory, partial), log.unchanged():
        made = FeatureRows(root, log, windows, opened, _counts(log, directory, progress))
        schema = made.schema()
        require_disk(out.parent, log.rows * 4 * len(schema), "the file of features")
        rows = _write(made, schema, partial, lambda done: progress("rows", COUNTING + (1 - COUNTING) * done))
        rates = {name: rate.report() for name, rate in made.rates.items()}
        lists = {name for name, slot in config.slots.items() if slot.cap is not None}
        require_match_rates({next(iter(export)): rates}, config.min_match_rate, lists)
    dropped = {f"rows dropped, as {reason}": count for reason, count in log.bad.reasons.items() if count}
    return {
        "out": str(out),
        "rows": rows,
        "rows_left_out": log.left_out,
        "mended": dropped,
        "columns": schema.names,
        "match_rates": rates,
    }


def _counts(log: ImpressionLog, directory: Path, progress: Progress) -> Counts | None:
    if not log.config.counts:
        return None
    return count_log(log, directory, lambda step, done: progress(step, COUNTING * done))


def _write(made: FeatureRows, schema: pa.Schema, path: Path, progress: Callable[[float], None]) -> int:
    rows, total = 0, max(made.log.rows, 1)
    with pq.ParquetWriter(path, schema.with_metadata({MARK: VERSION})) as writer:
        for block in made.log.blocks():
            writer.write_table(made.table(block, schema))
            rows += len(block.table)
            progress(rows / total)
    return rows


@contextmanager
def _aside(out: Path) -> Iterator[tuple[Path, Path]]:
    """Yields an empty directory beside `out`, and a file to be made in it, which becomes `out` when no error comes."""
    directory = out.with_name(f".{out.name}.partial")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    try:
        yield directory, directory / out.name
        sync(directory / out.name)
        os.replace(directory / out.name, out)
        sync(out.parent)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _is_ours(path: Path) -> bool:
    try:
        return path.is_file() and MARK in (pq.read_metadata(path).metadata or {})
    except (OSError, pa.ArrowInvalid):
        return False
