"""Events of one kind of log, as columns."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from demo_world.sampling import Bools, Ints, Longs

NOTHING = -1  # the target of an event that names none


@dataclass(frozen=True)
class EventLog:
    """All (N,): who, what (an index, or NOTHING), which event (its place in the log's vocabulary), and when.

    Times are seconds since the world's start.
    """

    user: Ints
    target: Ints
    event: Ints
    time: Longs

    @classmethod
    def of(cls, event: int, user: Ints, target: Ints, time: Longs) -> "EventLog":
        return cls(user, target, np.full(len(user), event, dtype=np.int32), time)

    @classmethod
    def concatenate(cls, logs: Sequence["EventLog"]) -> "EventLog":
        return cls(
            np.concatenate([log.user for log in logs]),
            np.concatenate([log.target for log in logs]),
            np.concatenate([log.event for log in logs]),
            np.concatenate([log.time for log in logs]),
        )

    def take(self, rows: Bools | Longs) -> "EventLog":
        return EventLog(self.user[rows], self.target[rows], self.event[rows], self.time[rows])

    def cut(self, end: int) -> "EventLog":
        """What was logged before `end`, in order of time."""
        kept = self.take(self.time < end)
        return kept.take(np.argsort(kept.time, kind="stable"))
