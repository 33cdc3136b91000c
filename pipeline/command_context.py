"""What a command works on: the context that its options name."""

import argparse
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from artifacts.errors import ConfigError
from artifacts.printable import is_text
from pipeline.output.console import Console

if TYPE_CHECKING:
    from pipeline.workspace.context import Context

REPOSITORY = Path(__file__).resolve().parents[1]


def default_root() -> Path:
    """The checkout that this code runs from; the current directory where it was installed from a wheel."""
    return REPOSITORY if (REPOSITORY / "pyproject.toml").is_file() else Path()


def context_of(options: argparse.Namespace) -> "Context":
    """Raises ConfigError for a config with problems, all of them."""
    from pipeline.config.loading import load_config
    from pipeline.workspace.context import Context
    from pipeline.workspace.workspace import Workspace

    for path in (options.config, options.root, options.workspace):
        if path is not None:
            require_plain(path)
    config = load_config(options.config, options.set).with_arms(getattr(options, "arms", None))
    root = options.root.resolve()
    workspace = (options.workspace or root / "runs" / options.config.stem).resolve()
    console = Console(quiet=options.quiet, as_json=options.json)
    restart = getattr(options, "restart", False)
    rebuild = datetime.now(timezone.utc).isoformat() if getattr(options, "rebuild", False) else None
    given, rank = tuple(given_options(options)), getattr(options, "rank", None)
    place = (options.config, config, root, Workspace(workspace), console)
    return Context(*place, options.verify, restart, rank, rebuild, given)


def require_plain(path: Path, option: str = "") -> None:
    """Raises ConfigError for a path that is none, or was given in another encoding."""
    if not is_text(str(path)):
        raise ConfigError(f"{option}{path}: expected a path in UTF-8 without NUL")


def given_options(options: argparse.Namespace) -> Iterator[str]:
    """The options that choose what a command works on, as they were written."""
    if options.root != default_root():
        yield from ("--root", str(options.root))
    if options.workspace:
        yield from ("--workspace", str(options.workspace))
    for override in options.set:
        yield from ("--set", override)
