"""What a stage was made from: its slice of the config, its inputs as the file system sees them, its version.

Cheap enough to be computed before every command: no file is read but the last bytes of each Parquet input.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from artifacts.inputs import file_state
from artifacts.intact import file_digest, file_digests


def digest_of(value: Any) -> str:
    """SHA-256 of a JSON value, keys sorted."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def input_state(path: Path) -> dict[str, Any]:
    """Path, size, modification time (ns) and, for Parquet, the digest of the footer."""
    return {"path": str(path), **file_state(path)}


def tree_digests(directory: Path, skip: Iterable[str]) -> dict[str, str]:
    """SHA-256 of every file below a directory, by relative path."""
    digests = file_digests(path for path in directory.rglob("*") if path.is_file() and path.name not in skip)
    return {str(path.relative_to(directory)): digest for path, digest in digests.items()}


def input_digests(inputs: dict[str, Any], record: dict[str, Any] | None) -> dict[str, str]:
    """SHA-256 of every input by path, given their states; not read again are those that an earlier record has seen."""
    states, digests = (record["parts"]["inputs"], record["input_digests"]) if record else ({}, {})
    seen = {path for path, state in inputs.items() if states.get(path) == state}
    return {path: digests[path] if path in seen else file_digest(Path(path)) for path in inputs}
