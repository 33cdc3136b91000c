"""Which events are kept out of training: the last ones by time, or a share drawn by a hash where there are no times."""

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

from pipeline.proposal import words
from pipeline.proposal.log import Log, Notes

PARTS = 40  # into which the times of each log are cut
SHARES = (0.8, 0.9)  # of the events before validation, and before test
LEAST = 0.02  # share of the events that validation and test must hold each
_STEPS = ((86_400, "%Y-%m-%d"), (3600, "%Y-%m-%dT%H:%M"), (60, "%Y-%m-%dT%H:%M"), (1, "%Y-%m-%dT%H:%M:%S"))


class Cut(NamedTuple):
    """Where validation and test begin, in epoch seconds, and how they are written."""

    bounds: tuple[int, int]
    format: str


def split_of(logs: Sequence[Log], rows: int, notes: Notes) -> dict[str, Any]:
    """The section `graph.split` for logs whose rows are events."""
    if any(log.found.split for log in logs):
        return {}
    timed = [log for log in logs if log.columns.time]
    for log in (log for log in logs if not log.columns.time):
        _note_times_not_taken(log, notes)
    for log in timed:
        if unread := _rows(log) - sum(log.profile.between(*_time(log), ())):
            notes.add(log, f"{unread:,} rows have no time in {log.columns.time} that can be read, and will be refused")
    cut = _cut(timed) if timed else None
    if cut:
        for log in (log for log in logs if not log.columns.time):
            notes.add(log, "has no time column, so all its events are training")
        valid, test = (datetime.fromtimestamp(one, timezone.utc).strftime(cut.format) for one in cut.bounds)
        return {"time": {"valid_from": valid, "test_from": test}}
    share = 0.1 if rows < 10_000 else 0.05
    why = "its times are too few to cut by" if timed else "no log has a time column"
    notes.add(None, f"split: {why}, so {share:.0%} of the edges are drawn for validation and for test each, by a hash")
    return {"random": {"valid": share, "test": share}}


def _note_times_not_taken(log: Log, notes: Notes) -> None:
    """Columns that may be the time after all: nothing is held out of a log without one, so its future is learnt."""
    yours = "time_column is yours to write, else all its events are training, also those of the others' test days"
    unread = [name for name in log.profile.unread if _says_time(name)]
    for name in [*log.columns.unused, *unread]:
        column = log.profile.columns.get(name)
        if column is not None and column.unit is not None:
            notes.add(log, f'{name} may be a time in {column.unit} (time_unit: "{column.unit}"): {yours}')
        elif _says_time(name) and (column is None or column.type != "BOOLEAN"):
            kind = log.profile.unread[name] if column is None else f"{column.type}, such as {_example(log, name)}"
            notes.add(log, f"{name} is named as a time is, and is {kind}; expected ISO times, or seconds, milliseconds "
                           f"or microseconds since 1970: {yours}")  # fmt: skip


def _says_time(name: str) -> bool:
    return not {*words.TIMES}.isdisjoint(words.words(name))


def _example(log: Log, name: str) -> str:
    return f"'{log.profile.example(name, '.*')}'"


def _cut(logs: Sequence[Log]) -> Cut | None:
    """The coarsest clock times near the shares that leave enough on each side; None where no times do."""
    points = [
        (moment, counted / PARTS)
        for log in logs
        for moment, counted in ((one, _rows(log)) for one in log.profile.moments(*_time(log), PARTS))
    ]
    if not points:
        return None
    ideal = [_quantile(points, share) for share in SHARES]
    for step, format in _STEPS:
        valid, test = (one // step * step for one in ideal)
        bounds = (valid, max(test, valid + step))
        counted = [log.profile.between(*_time(log), bounds) for log in logs]
        train, *held_out = (sum(parts) for parts in zip(*counted, strict=True))
        total = train + sum(held_out)
        if train >= total / 2 and min(held_out) >= max(1, LEAST * total):
            return Cut(bounds, format)
    return None


def _time(log: Log) -> tuple[str, Any]:
    return str(log.columns.time), log.columns.time_unit


def _rows(log: Log) -> int:
    ((_, (rows,)),) = log.profile.counts(None, [])
    return rows


def _quantile(points: Sequence[tuple[int, float]], share: float) -> int:
    """The moment before which lies a share of the weight."""
    wanted, passed = share * sum(weight for _, weight in points), 0.0
    for moment, weight in sorted(points):
        passed += weight
        if passed >= wanted:
            return moment
    return max(points)[0]
