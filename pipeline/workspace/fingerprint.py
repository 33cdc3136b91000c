"""Digests of what a stage was made from, and of what it has made."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from artifacts.files.intact import file_digests


def digest_of(value: Any) -> str:
    """SHA-256 of a JSON value, keys sorted."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def tree_digests(directory: Path, skip: Iterable[str]) -> dict[str, str]:
    """SHA-256 of every file below a directory, by relative path."""
    digests = file_digests(path for path in directory.rglob("*") if path.is_file() and path.name not in skip)
    return {str(path.relative_to(directory)): digest for path, digest in digests.items()}
