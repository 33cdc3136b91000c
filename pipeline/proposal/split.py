"""Which events are kept out of training: the last ones by time, or a share drawn by a hash where there are no times."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

from pipeline.proposal import words
from pipeline.proposal.log import Log, Notes, Relation, listed

PARTS = 100  # into which the times of each log are cut
MOST_NEW = 0.5  # of the test's events
_STEPS = ((86_400, "%Y-%m-%d"), (3600, "%Y-%m-%dT%H:%M"), (60, "%Y-%m-%dT%H:%M"), (1, "%Y-%m-%dT%H:%M:%S"))


class Split(NamedTuple):
    """The section `graph.split`, and what is to be known of it."""

    section: dict[str, Any]
    remark: str


class Shares(NamedTuple):
    """The share of the events before validation, and before test, and how near clock times must come to it: what
    validation and test must hold each, and may hold together, as parts of their shares."""

    valid: float
    test: float
    least: float
    most: float


# A shorter end is taken where most of a longer one is of ids that come up in it, such as today's news: nothing is known
# of those, and judging by them says nothing of a model.
SHARES = (Shares(0.8, 0.9, 0.2, 2.5), Shares(0.9, 0.95, 0.5, 1.5), Shares(0.96, 0.98, 0.5, 1.5))


class Cut(NamedTuple):
    """Where validation and test begin, in epoch seconds, how they are written, and the shares that they hold."""

    bounds: tuple[int, int]
    format: str
    held_out: tuple[float, float]


class New(NamedTuple):
    """The share of a test's events with an id that no event before validation has, in all and by column."""

    share: float
    by_column: dict[str, float]


def split_of(logs: Sequence[Log], events: Sequence[Relation], notes: Notes) -> Split:
    """The split for logs whose rows are `events`."""
    if any(log.found.split for log in logs):
        return Split({}, "")
    timed = [log for log in logs if log.columns.time]
    for log in (log for log in logs if not log.columns.time):
        _note_times_not_taken(log, notes)
    for log in timed:
        if unread := _rows(log) - sum(log.profile.between(*_time(log), ())):
            notes.add(log, f"{unread:,} rows have no time in {log.columns.time} that can be read, and will be refused")
    cut = _cut(timed, events, notes) if timed else None
    if cut:
        for log in (log for log in logs if not log.columns.time):
            notes.add(log, "has no time column, so all its events are training")
        valid, test = (datetime.fromtimestamp(one, timezone.utc).strftime(cut.format) for one in cut.bounds)
        remark = "About the last {1:.0%} of the events are the test, the {0:.0%} before them validation."
        return Split({"time": {"valid_from": valid, "test_from": test}}, remark.format(*cut.held_out))
    share = 0.1 if sum(one.rows for one in events) < 10_000 else 0.05
    why = "its times are too few to cut by" if timed else "no log has a time column"
    notes.add(None, f"split: {why}, so {share:.0%} of the edges are drawn for validation and for test each, by a hash")
    remark = "No times to go by: edges are drawn by a hash, so the test knows what came later. Times are better."
    return Split({"random": {"valid": share, "test": share}}, remark)


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


def _cut(logs: Sequence[Log], events: Sequence[Relation], notes: Notes) -> Cut | None:
    """Near the first of SHARES whose test is mostly of known ids, or else near that of the most; None where times are
    too few."""
    points = [
        (moment, counted / PARTS)
        for log in logs
        for moment, counted in ((one, _rows(log)) for one in log.profile.moments(*_time(log), PARTS))
    ]
    tried: list[tuple[Cut, New]] = []
    for shares in SHARES if points else ():
        if cut := _near(points, shares, logs):
            tried.append((cut, _new(logs, events, cut)))
            if tried[-1][1].share <= MOST_NEW:
                break
    if not tried:
        return None
    cut, new = min(tried, key=lambda one: (one[1].share > MOST_NEW, round(one[1].share, 1)))
    if (first := tried[0][1]).share > MOST_NEW:
        notes.add(None, _of_new(first, cut, new if cut != tried[0][0] else None))
    return cut


def _of_new(first: New, cut: Cut, shorter: New | None) -> str:
    """What a person should hear where most of the test would be new."""
    shares = listed([f"{share:.0%} in {column}" for column, share in first.by_column.items() if share])
    new = f"{first.share:.0%} have an id that none before validation has ({shares})"
    said = f"split: of the last tenth of the events {new}"
    if shorter is None:
        return f"{said}, of which nothing is known: the evaluation will say little, whatever the split"
    test = f"the last {cut.held_out[1]:.1%}, of which {shorter.share:.0%} have one"
    return f"{said}, of which nothing is known, so the test is {test}, and validation the {cut.held_out[0]:.1%} before"


def _new(logs: Sequence[Log], events: Sequence[Relation], cut: Cut) -> New:
    """Each log is asked for itself, by the ends of its events."""
    rows, either, columns = 0, 0, Counter[str]()
    for log in logs:
        for ends in dict.fromkeys((one.lhs.column, one.rhs.column) for one in events if log.name in one.sources):
            found = log.profile.strangers(ends, *_time(log), cut.bounds)
            rows, either = rows + found.rows, either + found.either
            columns.update(found.by_column)
    return New(either / max(rows, 1), {name: count / max(rows, 1) for name, count in columns.items()})


def _near(points: Sequence[tuple[int, float]], shares: Shares, logs: Sequence[Log]) -> Cut | None:
    """The coarsest clock times near the shares that leave enough on each side; None where no times do."""
    ideal = [_quantile(points, one) for one in (shares.valid, shares.test)]
    for step, format in _STEPS:
        valid, test = (one // step * step for one in ideal)
        bounds = (valid, max(test, valid + step))
        counted = [log.profile.between(*_time(log), bounds) for log in logs]
        train, *held_out = (sum(parts) for parts in zip(*counted, strict=True))
        total = train + sum(held_out)
        enough = min(held_out) >= max(1, shares.least * (1 - shares.test) * total)
        if enough and sum(held_out) <= shares.most * (1 - shares.valid) * total:
            return Cut(bounds, format, (held_out[0] / total, held_out[1] / total))
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
