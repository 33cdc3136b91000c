"""What a stage was made from: its slice of the config, its inputs as the file system sees them, its version.

Cheap enough to be computed before every command: no file is read but the last bytes of each Parquet input.
"""

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from artifacts.inputs import file_state
from artifacts.resources import cpu_count


def digest_of(value: Any) -> str:
    """SHA-256 of a JSON value, keys sorted."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def input_state(path: Path) -> dict[str, Any]:
    """Path, size, modification time (ns) and, for Parquet, the digest of the footer."""
    return {"path": str(path), **file_state(path)}


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
    with ThreadPoolExecutor(cpu_count()) as pool:  # hashing holds no lock
        return dict(
            zip((str(path.relative_to(directory)) for path in files), pool.map(file_digest, files), strict=True)
        )


def input_digests(inputs: dict[str, Any], record: dict[str, Any] | None) -> dict[str, str]:
    """SHA-256 of every input by path, given their states; not read again are those that an earlier record has seen."""
    states, digests = (record["parts"]["inputs"], record["input_digests"]) if record else ({}, {})
    seen = {path for path, state in inputs.items() if states.get(path) == state}
    return {path: digests[path] if path in seen else file_digest(Path(path)) for path in inputs}
