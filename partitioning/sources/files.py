"""The files of each source: patterns expanded, formats known, broken files found before work starts."""

from collections.abc import Container, Iterable
from pathlib import Path

from artifacts.errors import DataError
from artifacts.section import did_you_mean
from artifacts.sources.source_files import Files, find_files
from artifacts.sources.stores import Stores, is_url
from partitioning.config.sections import Format, GraphConfig, SourceConfig

_FORMATS: dict[str, Format] = {
    ".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl",
}  # fmt: skip
NOT_IN_ALL = "not in all files"  # a column
COMPRESSED = (".gz", ".zst")
_SMALL = 1 << 10  # what nothing may take, packed
_PARQUET_MAGIC, _SQLITE_MAGIC = b"PAR1", b"SQLi"


def source_files(
    config: GraphConfig, root: Path, frames: Container[str] = (), stores: Stores | None = None
) -> dict[str, Files]:
    """Files of every source, in order; without those of no bytes where all that reads the source may be empty.

    Those of `stores`, which URLs name, are listed and not yet fetched. Sources in `frames` are given as tables and have
    no files. Raises DataError that names each pattern without a file.
    """
    sources, lines = {}, []
    for name, source in config.sources.items():
        files, missing = find_files(root, source.patterns if name not in frames else [], stores=stores)
        lines += [f"graph.sources.{name}.path: no file matches '{one}'{_where(one, root)}" for one in missing]
        if config.benchmark and len(files) > 1:
            named = ", ".join(map(str, files))
            lines.append(f"graph.benchmark: the {name} split may be any of {named}; expected one file")
        may_be_empty = _may_be_empty(config, name)
        sources[name] = {path: keys for path, keys in files.items() if not (may_be_empty and _is_empty(path, stores))}
    if lines:
        raise DataError(*lines)
    return sources


def _where(pattern: str, root: Path) -> str:
    return "" if is_url(pattern) else f" (looked in {root})"


def _may_be_empty(config: GraphConfig, source: str) -> bool:
    """Whether only relations with `allow_empty` read a source: a log of a quiet day, not a list of who agreed."""
    readers = [relation for relation in config.relations if source in relation.sources]
    return source not in config.lists and bool(readers) and all(relation.allow_empty for relation in readers)


def _is_empty(path: Path, stores: Stores | None) -> bool:
    """Whether a file has no bytes, unpacked. What cannot be unpacked is not empty: it is refused where it is read."""
    if stores and (state := stores.state(path)):
        return bool(state["bytes"] == 0)
    size = path.stat().st_size
    if size == 0 or size > _SMALL or path.suffix.lower() not in COMPRESSED:
        return size == 0
    from partitioning.sources.compressed import plain  # Arrow, which a look at the config does without

    try:
        return plain(path).bytes == 0
    except DataError:
        return False


def file_format(name: str, source: SourceConfig, files: Iterable[Path]) -> Format:
    """Format of a source, from the config or from the suffix of its files. Raises DataError when they disagree."""
    if source.is_database:
        if len(list(files)) > 1:
            raise DataError(f"graph.sources.{name}.path: names {len(list(files))} files; expected one database")
        return "sqlite"
    if source.format:
        return source.format
    formats = {}
    for path in files:
        suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in COMPRESSED]
        suffix = suffixes[-1] if suffixes else ""
        if suffix not in _FORMATS:
            hint = did_you_mean(suffix, list(_FORMATS))
            raise DataError(f"graph.sources.{name}: cannot tell the format of {path} from its suffix{hint}; set format")
        formats[_FORMATS[suffix]] = path
    if len(formats) > 1:
        mixed = " and ".join(f"{path} ({kind})" for kind, path in formats.items())
        raise DataError(f"graph.sources.{name}: files of different formats, {mixed}; expected one")
    return next(iter(formats))


def check_file(path: Path, format: Format) -> None:
    """Raises DataError when a file cannot be read, is empty or, being Parquet, is cut off."""
    try:
        with path.open("rb") as file:
            head = file.read(4)
            file.seek(0, 2)
            size = file.tell()
            file.seek(max(size - 4, 0))
            foot = file.read(4)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if size == 0:
        raise DataError(f"{path}: the file is empty; if a log may be, set allow_empty on the relations that read it")
    if format == "sqlite" and head != _SQLITE_MAGIC:
        raise DataError(f"{path}: is not a SQLite database (it does not start with 'SQLite format 3')")
    if format == "parquet" and head != _PARQUET_MAGIC:
        raise DataError(f"{path}: is not a Parquet file (it does not start with PAR1)")
    if format == "parquet" and (foot != _PARQUET_MAGIC or size < 12):
        raise DataError(f"{path}: the Parquet file is cut off (it does not end with PAR1); copy it again")


def damaged(path: Path, error: Exception) -> DataError:
    """The error for a Parquet file whose footer cannot be read."""
    return DataError(f"{path}: the Parquet file is damaged ({str(error).splitlines()[0]}); copy it again")
