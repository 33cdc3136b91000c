"""Files that somebody else writes, as the file system sees them: cheap enough to be looked at before every command."""

import hashlib
from pathlib import Path
from typing import Any

PARQUET_FOOTER = 64 * 1024  # bytes from the end: the schema and the last row groups' statistics


def file_state(path: Path) -> dict[str, Any]:
    """Size, modification time (ns) and, for Parquet, the digest of the footer."""
    stat = path.stat()
    state: dict[str, Any] = {"bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    if path.suffix == ".parquet":
        with path.open("rb") as file:
            file.seek(max(0, stat.st_size - PARQUET_FOOTER))
            state["footer"] = hashlib.sha256(file.read()).hexdigest()[:16]
    return state
