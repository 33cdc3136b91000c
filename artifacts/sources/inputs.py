"""Files that somebody else writes, as the file system sees them: cheap enough to be looked at before every command."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifacts.errors import DataError

PARQUET_FOOTER = 64 * 1024  # bytes from the end: the schema and the last row groups' statistics


@dataclass(frozen=True)
class FileState:
    """What tells a file from another: size, modification time, which file it is, and the end of a Parquet file.

    Attributes:
        bytes: size
        mtime_ns: modification time
        inode: which file of its file system; a copy has another
        footer: of Parquet, the digest of the footer; None of other files, or where it was not asked for
    """

    bytes: int
    mtime_ns: int
    inode: int
    footer: str | None = None

    @classmethod
    def of(cls, path: Path, footer: bool = False) -> "FileState":
        """Raises OSError for a file that is not there, and DataError for a name that is no text."""
        try:
            str(path).encode()
        except UnicodeEncodeError as error:
            raise DataError(f"{path}: the name is no UTF-8; rename it") from error
        stat = path.stat()
        digest = _footer_digest(path, stat.st_size) if footer and path.suffix in (".parquet", ".pq") else None
        return cls(stat.st_size, stat.st_mtime_ns, stat.st_ino, digest)

    @property
    def content(self) -> dict[str, Any]:
        """What a copy that keeps the time has, too, as JSON."""
        state: dict[str, Any] = {"bytes": self.bytes, "mtime_ns": self.mtime_ns}
        return state if self.footer is None else {**state, "footer": self.footer}


def file_state(path: Path) -> dict[str, Any]:
    """Size, modification time (ns) and, for Parquet, the digest of the footer, as JSON."""
    return FileState.of(path, footer=True).content


def _footer_digest(path: Path, size: int) -> str:
    with path.open("rb") as file:
        file.seek(max(0, size - PARQUET_FOOTER))
        return hashlib.sha256(file.read()).hexdigest()[:16]
