"""Which config a workspace belongs to: another one's runs and entity map are not to be continued."""

import json
import os
from typing import Any

from artifacts.errors import ConfigError
from artifacts.files.publish import write_json
from partitioning import SourceConfig
from pipeline.workspace.context import Context

OWNER = ".config.json"


def require_own(context: Context) -> None:
    """Raises ConfigError for the workspace of another config: one at another path, and of other logs or entity types.

    The path counts from the root, so that a checkout may move; a config that has moved and reads the same is the same.
    """
    path = context.workspace.path / OWNER
    try:
        owner = json.loads(path.read_text())
        of, logs = owner["config"], owner["reads"]
    except (FileNotFoundError, NotADirectoryError, PermissionError):  # what cannot be written says so itself
        return
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: expected which config this workspace belongs to; remove it") from error
    if of != _path(context) and logs != _reads(context):
        raise ConfigError(
            f"{context.workspace.path}: belongs to the config {of}, this is {_path(context)}; "
            "choose another --workspace"
        )


def claim(context: Context) -> None:
    """Notes that the workspace is the config's. Raises as `require_own`."""
    require_own(context)
    owner = {"config": _path(context), "reads": _reads(context)}
    path = context.workspace.path / OWNER
    if not path.exists() or json.loads(path.read_text()) != owner:
        write_json(path, owner)


def _path(context: Context) -> str:
    return os.path.relpath(context.config_path.resolve(), context.root)


def _reads(context: Context) -> dict[str, Any]:
    graph = context.config.graph
    return {
        "sources": {name: _read(source) for name, source in sorted(graph.sources.items())},
        "entities": sorted(graph.entities),
    }


def _read(source: SourceConfig) -> list[str]:
    """What a source is read from."""
    if not source.postgres:
        return source.patterns
    return [text for text in (source.postgres.url_env, source.postgres.table, source.postgres.query) if text]
