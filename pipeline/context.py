"""What one command works on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import RunConfig
from pipeline.console import Console
from pipeline.fingerprint import digest_of
from pipeline.workspace import Workspace


@dataclass(frozen=True)
class Context:
    """`root` is where relative paths of the config start; the rest are the common options of the command line."""

    config_path: Path
    config: RunConfig
    root: Path
    workspace: Workspace
    console: Console
    verify: bool = False
    restart: bool = False
    rebuild: str | None = None  # the time at which a fresh entity map was asked for

    @property
    def resolved(self) -> dict[str, Any]:
        """The whole config with its defaults, as the manifest keeps it."""
        return self.config.model_dump(mode="json", by_alias=True)

    @property
    def config_hash(self) -> str:
        return digest_of(self.resolved)
