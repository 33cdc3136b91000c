"""What manifest.json and metrics.json of the published run say, for those who keep models: a model card, MLflow."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from artifacts.errors import ConfigError
from artifacts.files.json_file import read_json
from artifacts.formats.reader_schema import require_readable
from artifacts.formats.run import MANIFEST
from pipeline.workspace.context import Context
from pipeline.workspace.workspace import METRICS


class Facts(NamedTuple):
    """A run's directory, and what its two files say."""

    run: Path
    manifest: dict[str, Any]
    metrics: dict[str, Any]


def published_facts(context: Context) -> Facts:
    """Raises ConfigError where nothing is published, DataError for files that are not what a run has."""
    latest = context.workspace.latest
    if latest is None or latest.record("export") is None:
        raise ConfigError(f"{context.workspace.path}: nothing is published yet; run `{context.command('run')}`")
    require_readable(latest.path)
    manifest, metrics = (read_json(latest.path / name, dict[str, Any], "a run's facts") for name in (MANIFEST, METRICS))
    return Facts(latest.path, manifest, metrics)


def numbers(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Every number in a tree of objects, by its dotted path."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from numbers(value, f"{prefix}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{name}", value
