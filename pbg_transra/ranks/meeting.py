"""Where the ranks of a training find each other: a file in the workspace, which all of them see.

It holds the key that a rank proves to know, so only who may read it (mode 0600) can join.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from artifacts.files.json_file import read_json
from artifacts.files.publish import write_text

OWN_ONLY = 0o600


@dataclass(frozen=True)
class Meeting:
    """Where rank 0 listens, the key, and the run that is trained."""

    host: str
    port: int
    key: str
    run: str


@contextmanager
def announced(path: Path, meeting: Meeting) -> Iterator[None]:
    """The file is there within the block."""
    write_text(path, json.dumps(asdict(meeting)), mode=OWN_ONLY)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def found(path: Path) -> Meeting | None:
    """None before rank 0 has come. Raises DataError for a damaged file, and OSError for one that may not be read."""
    return read_json(path, Meeting, "where rank 0 of a training listens") if path.exists() else None
