"""CTR/CVR ranking with exported graph vectors: reads impressions and the HDF5 of an export. Knows nothing of PBG.

Importing this package is light; torch is loaded by `rank`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ranker.config import RankerConfig
from ranker.files import impression_files

__all__ = ["RankerConfig", "impression_files", "rank"]


def rank(
    config: RankerConfig,
    root: Path,
    exports: dict[str, Path],
    graph_window_end: int | None,
    destination: Path,
    arms: Sequence[str],
    progress: Callable[[str, float], None],
) -> dict[str, Any]:
    """Trains and judges `arms` (all that are configured when empty) in the existing directory `destination`.

    `exports` are HDF5 files by run name: the first is the one that arms use, the others are compared with it under
    `<arm>@<name>`. `graph_window_end` is the last event (epoch seconds) that any of their graphs was trained on, None
    for graphs without time. `progress` is told what is being done and its fraction done. The same call with the same
    destination goes on where a killed one stopped. Returns the metrics tree below `rank`. Raises ConfigError for an
    arm that does not exist and for a graph that has seen the training labels, DataError for bad input.
    """
    from ranker.ranking import rank_arms

    return rank_arms(config, root, exports, graph_window_end, destination, arms, progress)
