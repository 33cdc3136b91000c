"""What a stage was made from: its slice of the config, its inputs as the file system sees them, its version.

Cheap enough to be computed before every command: no file is read but the last bytes of each Parquet input.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PARQUET_FOOTER = 64 * 1024  # bytes from the end: the schema and the last row groups' statistics


def digest_of(value: Any) -> str:
    """SHA-256 of a JSON value, keys sorted."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def input_state(path: Path) -> dict[str, Any]:
    """Size, modification time (ns) and, for Parquet, the digest of the footer."""
    stat = path.stat()
    state: dict[str, Any] = {"path": str(path), "bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    if path.suffix == ".parquet":
        with path.open("rb") as file:
            file.seek(max(0, stat.st_size - PARQUET_FOOTER))
            state["footer"] = hashlib.sha256(file.read()).hexdigest()[:16]
    return state


def file_digest(path: Path) -> str:
    """SHA-256 of all bytes of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def tree_digests(directory: Path, skip: Iterable[str]) -> dict[str, str]:
    """SHA-256 of every file below a directory, by relative path."""
    files = sorted(path for path in directory.rglob("*") if path.is_file() and path.name not in skip)
    return {str(path.relative_to(directory)): file_digest(path) for path in files}


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """What changed between two parts of a fingerprint, one text per value."""
    changes = []
    for key in sorted(old.keys() | new.keys()):
        before, after, path = old.get(key), new.get(key), f"{prefix}{key}"
        if isinstance(before, dict) and isinstance(after, dict):
            changes += differences(before, after, f"{path}.")
        elif before != after:
            changes.append(f"{path} changed from {shorten(before)} to {shorten(after)}")
    return changes


def shorten(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else text[:37] + "..."
