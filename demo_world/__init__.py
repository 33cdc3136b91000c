"""A synthetic ads world whose truth is known: no public log has clicks, conversions, ids and times together.

    transra demo-data /tmp/world --users 30000 --impressions 1500000 --days 30 --seed 0

Importing this package is light; numpy and pyarrow come in with the first call of `generate`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from demo_world.parameters import DemoDataError, WorldParameters

__all__ = ["DemoDataError", "WorldParameters", "generate"]


def generate(
    directory: Path,
    parameters: WorldParameters,
    progress: Callable[[int], None] | None = None,
    processes: int | None = None,
) -> dict[str, Any]:
    """Write the world to `directory` and return its report, which is also stored there as `world.json`.

    A directory that already holds this world is left as it is. The bytes do not depend on `processes`
    (default: the cores, at most 4); a caller whose script is not importable without side effects must pass 1,
    because workers are spawned. `progress` is called with the number of rows written since its last call.
    Memory grows with the entities (about 140 bytes a user in every process), not with the events.
    Raises DemoDataError when `directory` exists and is not this world.
    """
    from demo_world.generation import generate_world

    return generate_world(Path(directory), parameters, progress, processes)
