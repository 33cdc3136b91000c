"""Events to graph: reads logs, maps ids to partitions and offsets, writes PBG's layout. Knows nothing of torch.

Importing this package is light; DuckDB and Arrow are loaded by the functions that need them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from partitioning.config.checks import graph_problems
from partitioning.config.sections import GraphConfig
from partitioning.report import GraphReport
from partitioning.sources.files import source_files

if TYPE_CHECKING:
    from partitioning.plan import Plan

__all__ = ["GraphConfig", "GraphReport", "build_graph", "graph_problems", "plan_graph", "source_files"]


def plan_graph(config: GraphConfig, root: Path) -> "Plan":
    """Estimates what a build needs, from the sizes of its inputs. Raises DataError for missing or broken files."""
    from partitioning import plan

    return plan.plan_graph(config, root)


def build_graph(
    config: GraphConfig,
    root: Path,
    destination: Path,
    progress: Callable[[str, float], None],
    known: Path | None = None,
) -> GraphReport:
    """Builds the graph of `config` in the existing empty directory `destination`.

    Ids of the graph in the directory `known` keep their partition and offset, also those that no longer occur; new ids
    follow them. `progress` is told the name of the step and its fraction done. Raises ConfigError for a condition that
    DuckDB does not accept, DataError for bad input and ResourceError for too little memory or disk.
    """
    from partitioning import build

    return build.build_graph(config, root, destination, progress, known)
