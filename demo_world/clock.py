"""When things happen: a day of the window, and a second of that day with an evening peak."""

import numpy as np

from demo_world.parameters import DAY
from demo_world.sampling import Floats, Ints, Longs, QuantileTable, single_table

SLOT = 60  # s; the diurnal curve is constant within a minute
HOURLY = (4, 3, 2, 2, 2, 3, 5, 8, 10, 10, 10, 11, 12, 11, 10, 10, 11, 13, 15, 17, 18, 16, 12, 7)


def _diurnal() -> QuantileTable:
    minutes: Floats = np.repeat(np.array(HOURLY, dtype=np.float32), DAY // SLOT // len(HOURLY))
    return single_table(minutes)


DIURNAL = _diurnal()


def draw_times(rng: np.random.Generator, count: int, first_day: int, days: int) -> Longs:
    """(count,) seconds since the world's start, within `days` days from `first_day`, not sorted."""
    day = rng.integers(first_day, first_day + days, count, dtype=np.int32).astype(np.int64)
    slot = DIURNAL.draw(rng, 0, (count,))
    return day * DAY + slot * SLOT + rng.integers(0, SLOT, count, dtype=np.int32)


def hour_of(times: Longs) -> Ints:
    """UTC hour of seconds since the world's start, which is a midnight."""
    return (times % DAY // 3600).astype(np.int32)
