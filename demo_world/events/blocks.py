"""Users are simulated in blocks of about equal work, each with a seed of its own."""

from dataclasses import dataclass

import numpy as np

from demo_world.parameters import RANKER_DAYS
from demo_world.population.world import World

BLOCK_EVENTS = 250_000  # what fits into about 250 MB while it is simulated and written


@dataclass(frozen=True)
class Block:
    """Users `first` to `last` (exclusive); their ranker impressions are numbered from `first_impression`."""

    index: int
    first: int
    last: int
    first_impression: int

    @property
    def name(self) -> str:
        return f"part-{self.index:05d}.parquet"


def plan_blocks(world: World) -> list[Block]:
    """Consecutive users; a block ends with the user in whom its quota of expected events is reached."""
    users = world.users
    days = world.parameters.days + RANKER_DAYS
    expected = users.graph_impressions + users.ranker_impressions + users.visit_rate * days
    filled = (np.cumsum(expected, dtype=np.float64) / BLOCK_EVENTS).astype(np.int64)
    starts = np.unique(np.concatenate([[0], np.flatnonzero(np.diff(filled)) + 1]))
    bounds = np.concatenate([starts, [len(filled)]])
    numbered = np.concatenate([[0], np.cumsum(users.ranker_impressions)])
    return [
        Block(index, int(first), int(last), int(numbered[first]))
        for index, (first, last) in enumerate(zip(bounds[:-1], bounds[1:], strict=True))
    ]
