"""The Parquet files of a log, and the columns that their directories name."""

from pathlib import Path

from artifacts.errors import DataError
from artifacts.source_files import Files, find_files
from ranker.config.sections import RankerConfig

_SUFFIXES = (".parquet", ".pq")


def impression_files(config: RankerConfig, root: Path) -> Files:
    """Every file of `config.impressions`, in order. Raises DataError for a pattern that fits none."""
    files, missing = find_files(root, config.patterns, _SUFFIXES)
    if missing:
        raise DataError(*(f"{root / pattern}: no Parquet files (ranker.impressions)" for pattern in missing))
    return files
