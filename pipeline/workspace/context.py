"""What one command works on."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from artifacts.sources.source_files import Files
from artifacts.sources.stores import Stores
from pipeline.config.run_config import RunConfig
from pipeline.output.console import Console
from pipeline.workspace.fingerprint import digest_of
from pipeline.workspace.inputs import Inputs
from pipeline.workspace.workspace import Workspace

STORED = ".stored"  # in a workspace: copies of files of stores, while a command reads them
SCRATCH = ".tuning"  # in a workspace: the model of a trial of `tune`, while it is trained


@dataclass
class Progress:
    """How far a command has come: the stage that it is at, or was at last, and the run."""

    stage: str | None = None
    run: str | None = None


@dataclass(frozen=True)
class Context:
    """`root` is where relative paths of the config start; the rest are the common options of the command line.

    `given` are those that choose what the command works on, as they were written, so that a hint can repeat them.
    """

    config_path: Path
    config: RunConfig
    root: Path
    workspace: Workspace
    console: Console
    verify: bool = False
    restart: bool = False
    rank: int | None = None  # of a training on several machines, as the command line says
    rebuild: str | None = None  # the time at which a fresh entity map was asked for
    given: tuple[str, ...] = ()
    progress: Progress = field(default_factory=Progress)

    @property
    def resolved(self) -> dict[str, Any]:
        """The config with its defaults, as the manifest keeps it: without what no output is made from, such as a hook,
        whose arguments may hold a secret."""
        return self.config.model_dump(mode="json", by_alias=True, exclude=set(self.config.without_effect))

    @property
    def config_hash(self) -> str:
        return digest_of(self.resolved)

    def command(self, name: str, *more: str) -> str:
        """The command line of another command on the same config, root, workspace and overrides, for hints."""
        return shlex.join(["transra", name, str(self.config_path), *more, *self.given])

    @cached_property
    def source_files(self) -> dict[str, Files]:
        """Files of each source of the graph. Looked up once: a command reads the files that it has compared."""
        from partitioning import source_files

        return source_files(self.config.graph, self.root, stores=self.stores)

    @cached_property
    def stores(self) -> Stores:
        """Where files that URLs name are copied to, by a command that holds the workspace."""
        return Stores(self.workspace.path / STORED)

    @cached_property
    def inputs(self) -> Inputs:
        """What is known of files outside of the workspace."""
        return Inputs(self.workspace.path, self.root, self.stores)

    @cached_property
    def source_states(self) -> dict[str, dict[str, Any]]:
        """Their states by name, as the command found them when it began."""
        return self.inputs.states(path for paths in self.source_files.values() for path in paths)

    def fetch(self, sources: Iterable[str]) -> None:
        """Copies what URLs name of sources of the graph."""
        self.stores.fetch(path for name in sources for path in self.source_files[name])

    @cached_property
    def table_states(self) -> dict[str, Any]:
        """What sources without files were when the command began, by source."""
        from partitioning import table_states

        return table_states(self.config.graph)
