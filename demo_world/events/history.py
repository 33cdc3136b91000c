"""What a person did last, as it stood when an ad was shown."""

from dataclasses import dataclass

import numpy as np

from demo_world import assumptions as a
from demo_world.events.eventlog import EventLog
from demo_world.events.offsite import PAGE_VISIT
from demo_world.events.onsite import SAVE, Impressions, Onsite
from demo_world.sampling import Bools, Ints, Longs

STRIDE = 1 << 36  # s; longer than any world, so that user and time make one sort key


@dataclass(frozen=True)
class RecentLists:
    """Row i holds `targets[offsets[i] : offsets[i + 1]]` and their `times`, the latest first."""

    offsets: Ints  # (R + 1,)
    targets: Ints
    times: Longs  # seconds since the world's start


def recent_lists(events: EventLog, user: Ints, time: Longs, allowed: Bools) -> RecentLists:
    """The last events of `user` (R,) strictly before `time` (R,); an empty list where not `allowed`."""
    keys = events.user.astype(np.int64) * STRIDE + events.time
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    owner = user.astype(np.int64) * STRIDE
    end = np.searchsorted(keys, owner + time)
    length = np.minimum(end - np.searchsorted(keys, owner), a.RECENT) * allowed
    offsets = np.concatenate([[0], np.cumsum(length)])
    back = np.arange(offsets[-1]) - np.repeat(offsets[:-1], length)
    latest_first = order[np.repeat(end - 1, length) - back]
    return RecentLists(offsets.astype(np.int32), events.target[latest_first], events.time[latest_first])


def recent_pins(onsite: Onsite, shown: Impressions) -> RecentLists:
    """Pins clicked (a long click is a click) or saved before each of `shown`; a pin may occur more than once."""
    clicks, impressions = onsite.clicks, onsite.impressions
    clicked = EventLog.of(SAVE, impressions.user[clicks.row], impressions.pin[clicks.row], clicks.time)
    engaged = EventLog.concatenate([clicked, onsite.saves])
    return recent_lists(engaged, shown.user, shown.time, np.ones(len(shown.user), dtype=np.bool_))


def recent_items(offsite: EventLog, shown: Impressions, opted_in: Bools) -> RecentLists:
    """Items whose page was visited before each of `shown`: nothing of people who have not opted in (R,)."""
    visits = offsite.take(offsite.event == PAGE_VISIT)
    return recent_lists(visits, shown.user, shown.time, opted_in)
