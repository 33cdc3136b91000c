"""What readers of a published run may rely on, as a version in its manifest.json: docs/outputs.md.

The major number changes when a reader of before would go wrong, the minor one when something is added.
"""

import re
from pathlib import Path
from typing import Any

from artifacts.errors import DataError
from artifacts.files.json_file import read_json
from artifacts.formats.run import MANIFEST

SCHEMA_VERSION = "1.2"
_VERSION = re.compile(r"(\d{1,6})\.\d{1,6}")


def require_known(version: object, where: str) -> None:
    """Raises DataError for a version of another major number than ours, and for what is no version."""
    found = _VERSION.fullmatch(version) if isinstance(version, str) else None
    if found is None or found[1] != SCHEMA_VERSION.partition(".")[0]:
        raise DataError(
            f"{where}: schema_version {version!r}; expected {SCHEMA_VERSION}, which is what this reader knows"
        )


def require_readable(run: Path) -> None:
    """Raises DataError where the manifest of a run is of a major version that this reader does not know.

    A directory without a manifest, or a manifest without a version, is of the first.
    """
    path = run / MANIFEST
    if path.exists():
        manifest = read_json(path, dict[str, Any], "a run's manifest")
        require_known(manifest.get("schema_version", SCHEMA_VERSION), str(path))
