"""The config that `transra tune` writes: it extends the one that was tuned, and says only what is another."""

import json
import os
from pathlib import Path
from typing import Any

from artifacts.errors import ConfigError, ResourceError
from artifacts.files.publish import write_text
from pipeline.config.extends import patched
from pipeline.config.loading import lineage, read_raw, validate
from pipeline.config.run_config import RunConfig

MARK = "// Written by `transra tune`"  # how such a file begins


def require_writable(path: Path, config: Path) -> None:
    """Raises ConfigError unless `path` is free or an earlier output, and none that `config` is made of; ResourceError
    where its directory cannot be written."""
    if not path.parent.is_dir():
        raise ConfigError(f"--out {path}: {path.parent} is no directory")
    if not os.access(path.parent, os.W_OK):
        raise ResourceError(f"{path.parent}: cannot be written; choose another --out")
    if path.resolve() in lineage(config):
        raise ConfigError(f"--out {path}: {config} is made of it; choose another --out")
    if (path.exists() or path.is_symlink()) and not _is_ours(path):
        raise ConfigError(f"--out {path}: exists, and was not written by `transra tune`; choose another --out")


def write_tuned(path: Path, config: Path, tuned: RunConfig, remark: str) -> None:
    """Writes in one step what makes `tuned` of the file `config`. Raises as `require_writable`."""
    require_writable(path, config)
    base = read_raw(config)
    patch = differing(_resolved(validate(base)), _resolved(tuned))
    # A key that is written now can be what the default of another depends on.
    patch = patched(patch, differing(_resolved(validate(patched(base, patch))), _resolved(tuned)))
    if _resolved(validate(patched(base, patch))) != _resolved(tuned):
        raise ConfigError(f"{config}: what --set changed cannot be written as a variant of it; put it into the file")
    extends = os.path.relpath(config.resolve(), path.parent.resolve())
    text = json.dumps({"extends": extends, **patch}, indent=2, allow_nan=False)
    write_text(path, f"{MARK}: {remark}\n{text}\n")


def differing(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The patch, as `extends` reads it, that makes `after` of `before`."""
    patch: dict[str, Any] = {}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            if below := differing(old, value):
                patch[key] = below
        elif key not in before or value != old:
            patch[key] = value
    return patch


def _resolved(config: RunConfig) -> dict[str, Any]:
    return config.model_dump(mode="json", by_alias=True)


def _is_ours(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(MARK)) == MARK.encode()
