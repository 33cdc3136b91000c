"""The Parquet files of a log, and the columns that their directories name."""

from pathlib import Path

from artifacts.errors import DataError
from artifacts.sources.source_files import Files, find_files
from artifacts.sources.stores import Stores, is_url
from ranker.config.sections import RankerConfig

_SUFFIXES = (".parquet", ".pq")


def impression_files(config: RankerConfig, root: Path, stores: Stores | None = None) -> Files:
    """Every file of `config.impressions`, in order; those of `stores` are not fetched yet.

    Raises DataError for a pattern that fits none.
    """
    files, missing = find_files(root, config.patterns, _SUFFIXES, stores)
    if missing:
        named = (one if is_url(one) else root / one for one in missing)
        raise DataError(*(f"{one}: no Parquet files (ranker.impressions)" for one in named))
    return files
