"""Requests are test impressions of the demo world's log, whose ad gives way to the candidates of an auction."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from demo_world.auctions.requests import CANDIDATES, Requests, draw_requests
from demo_world.auctions.simulation import Simulation
from demo_world.clock import hour_of
from demo_world.events.tables import Columns, Names, ad_columns
from demo_world.parameters import START
from demo_world.population.world import World
from demo_world.sampling import Doubles, Ints, seeded

AT_ONCE = 1024  # requests that are scored together
BRANCH = 4  # of the seed, beside those of the world


class Arms(Protocol):
    """The log that arms were trained on, and what they predict: see `ranker.trained_arms`."""

    test_rows: int

    def rows(self, numbers: Any) -> Iterator[pa.Table]: ...

    def click_rates(self, table: pa.Table) -> dict[str, list[Doubles]]: ...


@dataclass(frozen=True)
class Asked:
    """How many requests, the seed of all draws, and the least bid per click that takes part."""

    requests: int
    seed: int
    reserve: float


def simulated(
    world: World, arms: Arms, asked: Asked, given: Mapping[str, Doubles], progress: Callable[[str, float], None]
) -> Simulation:
    """Lets every arm rank the candidates of every request, and those whose predictions (N, C) are `given` by name."""
    simulation = Simulation(world.parameters.users, asked.reserve)
    for requests, table in requests_of(world, arms, asked):
        rates = {
            name: [one.reshape(-1, CANDIDATES) for one in found] for name, found in arms.click_rates(table).items()
        }
        first, last = simulation.requests, simulation.requests + len(requests.user)
        simulation.add(requests, rates | {name: [scores[first:last]] for name, scores in given.items()})
        progress("auctions", simulation.requests / asked.requests)
    return simulation


def requests_of(world: World, arms: Arms, asked: Asked) -> Iterator[tuple[Requests, pa.Table]]:
    """Requests, drawn with replacement from the test impressions, R at a time, and what a ranker may see of each
    candidate, (R * C,) rows of the log's columns.

    The person, the time and the place are those that were logged; the ads are those that the world's retrieval finds.
    """
    rng, names = seeded(asked.seed, BRANCH), Names.of(world)
    numbers = np.sort(rng.integers(0, arms.test_rows, asked.requests))
    for rows in arms.rows(numbers):
        for first in range(0, len(rows), AT_ONCE):
            part = rows.slice(first, AT_ONCE)
            requests = draw_requests(world, rng, *who_where_when(part))
            yield requests, candidate_rows(part, CANDIDATES, ad_columns(world, names, requests.pin.ravel()))


def who_where_when(rows: pa.Table) -> tuple[Ints, Ints, Ints]:
    """The number of the person, the position (from 1) and the UTC hour of impressions of the demo world, (R,) each."""
    user = pc.utf8_slice_codeunits(rows["user_id"], 1).cast(pa.int32()).to_numpy()
    position, ts = (rows[name].cast(pa.int64()).to_numpy() for name in ("position", "ts"))
    return user, position.astype(np.int32), hour_of(ts - START)


def candidate_rows(rows: pa.Table, each: int, ads: Columns) -> pa.Table:
    """Every row (R,) `each` times, with one of `ads` (R * each,) in place of the one that was logged."""
    found = rows.take(pa.array(np.repeat(np.arange(len(rows)), each)))
    for name, values in ads.items():
        column = pa.array(values) if isinstance(values, np.ndarray) else values
        place = found.column_names.index(name)
        found = found.set_column(place, name, column.cast(found.schema.field(place).type))
    return found
