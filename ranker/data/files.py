"""The Parquet files of a log, and the columns that their directories name."""

from collections.abc import Iterator
from pathlib import Path

from artifacts.errors import DataError
from ranker.config.sections import RankerConfig


def impression_files(config: RankerConfig, root: Path) -> list[Path]:
    """Every file of `config.impressions`, in order. Raises DataError for a pattern that fits none."""
    return [file for pattern in config.patterns for file in _files(root, pattern)]


def partition_keys(path: Path) -> dict[str, str]:
    """Columns that the directories above a file name, key=value."""
    return dict(part.split("=", 1) for part in path.parts[:-1] if "=" in part)


def _files(root: Path, pattern: str) -> list[Path]:
    path = root / pattern
    if path.is_file():
        return [path]
    found = path.rglob("*.parquet") if path.is_dir() else _glob(path)
    files = sorted(file for file in found if file.is_file() and not file.name.startswith((".", "_")))
    if not files:
        raise DataError(f"{path}: no Parquet files (ranker.impressions)")
    return files


def _glob(path: Path) -> Iterator[Path]:
    fixed = next(parent for parent in path.parents if "*" not in str(parent))
    return fixed.glob(str(path.relative_to(fixed)))
