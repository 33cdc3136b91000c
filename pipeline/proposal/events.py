"""Relations of a log of events: who acts, on what, and one relation for each action."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from pipeline.proposal import words
from pipeline.proposal.columns import MOST_ACTIONS
from pipeline.proposal.log import NO_PEOPLE, Log, Notes, Relation, Side, listed
from pipeline.proposal.sql import all_of, equals, filled, is_in, name_of, true
from pipeline.proposal.words import acts, is_context, is_readable, one_of, plain, says_user, singular

OWN = 0.95  # share of rows with a value of their own, from which on a column numbers the events


def is_log(log: Log) -> bool:
    """Whether rows are events: somebody, or at a time, with something else."""
    columns = log.columns
    happened = columns.person or columns.time or columns.action or columns.labels or _acting(log)
    return len(columns.ids) > 1 and bool(happened) and log.snapshot_of is None and not _is_table(log)


def _is_table(log: Log) -> bool:
    """Whether each row tells of one thing, or one of people: `created_at` of products is a time of no event, and the
    `customer` of an ad does nothing."""
    columns = log.columns
    if columns.action or columns.labels:
        return False
    if columns.person and log.is_key(columns.person):
        return bool(log.words) and singular(log.words[-1]) in words.PEOPLE
    first = next(iter(columns.ids))
    is_thing = columns.ids[first].split("_")[-1] in words.NOUNS - words.PEOPLE - words.TRADE
    nobody = columns.person is None and _acting(log) is None
    return log.is_key(first) and (nobody or (is_thing and columns.time is None))


def events_of(log: Log, notes: Notes) -> list[Relation]:
    """The relations of a log, those that are left out with the reason."""
    head = _head(log)
    tails = _tails(log, head, notes)
    if not tails:
        notes.add(log, f"no column of ids beside {head} that says what the events are about; the source is left out")
        return []
    main = _main(log, tails)
    if context := [one for one in tails if is_context(log.columns.ids[one]) and one not in main]:
        notes.add(log, f"{listed(context)}: where or how it was done, so no relation of people")
    action = log.columns.action
    if action and len(log.profile.counts(action, [], most=MOST_ACTIONS + 1)) > MOST_ACTIONS:
        notes.add(
            log, f"{action} has more than {MOST_ACTIONS} values, so what the events are is not known; it is left out"
        )
        return []
    if action:
        return list(_by_action(log, head, tails, action, notes))
    if log.columns.labels:
        return list(_by_label(log, head, main[:1], notes))
    return list(_plain(log, head, tails))


def _head(log: Log) -> str:
    return log.columns.person or _acting(log) or next(iter(log.columns.ids))


def _acting(log: Log) -> str | None:
    """The column that acts where none is known to be of people."""
    ids = log.columns.ids
    users = (column for column in ids if says_user(column) and not log.is_key(column))
    return next(users, None) or next((column for column, type in ids.items() if acts(type)), None)


def _tails(log: Log, head: str, notes: Notes) -> list[str]:
    """Columns of what the events are about, such as ads before their advertisers, which follow from them."""
    found = []
    for column in (column for column in log.columns.ids if column != head):
        number = log.profile.columns[column]
        if number.distinct >= max(20, OWN * number.filled):
            notes.add(log, f"{column} is another one in nearly every row, so it joins nothing; it is left out")
        elif log.determines(column, head) and not log.determines(head, column):
            notes.add(log, f"each {column} belongs to one {head}, as a session does; it is left out")
        else:
            found.append(column)
    return found


def attributes_of(log: Log, tails: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Tail, column and entity type of what follows from a tail, such as the advertiser of an ad."""
    columns = {**{column: log.columns.ids[column] for column in tails}, **log.columns.groups}
    for tail in tails:
        for column, type in columns.items():
            fewer = 1 < log.profile.columns[column].distinct < log.profile.columns[tail].distinct
            if column != tail and fewer and log.determines(tail, column):
                yield tail, column, type


def with_siblings(events: Mapping[str, list[Relation]], logs: Iterable[Log], notes: Notes) -> dict[str, list[Relation]]:
    """The relations by log; where one of a log is offsite, each that no word knows needs consent as well.

    No list of words has all that people do in a shop, and `reserve_now` beside `purchase` was counted without consent.
    """
    group = {log.name: log.found.group or log.name for log in logs}
    offsite: dict[str, list[str]] = {}
    for name, found in events.items():
        offsite.setdefault(group[name], []).extend(_said(one) for one in found if one.domain == "offsite")
    for name, beside in offsite.items():
        here = [one for log, found in events.items() if group[log] == name for one in found]
        if not beside and (odd := list(dict.fromkeys(_said(one) for one in here if _is_odd(one)))):
            notes.add(None, f"{name}: whether {listed(odd)} happens on your own site is not known; where it does not, "
                            'domain: "offsite" and graph.consent are yours to write')  # fmt: skip
        if beside and (unknown := list(dict.fromkeys(_said(one) for one in here if _is_unknown(one)))):
            known = listed(list(dict.fromkeys(beside)))
            notes.add(None, f"{name}: {listed(unknown)} may happen off the site, as {known} does, and needs consent, "
                            'too; where it is on your own site, remove its domain: "offsite"')  # fmt: skip
    return {
        name: [replace(one, domain="offsite") if offsite[group[name]] and _is_unknown(one) else one for one in found]
        for name, found in events.items()
    }


def _said(relation: Relation) -> str:
    return relation.name if relation.action is None else relation.action


def _is_unknown(relation: Relation) -> bool:
    """Whether some word of what happened may say that it is offsite."""
    said = words.words(_said(relation))
    known = words.ONSITE | words.NEGATIVE | words.SHOWN
    return relation.domain == "onsite" and not (said and all(word in known or singular(word) in known for word in said))


def _is_odd(relation: Relation) -> bool:
    """Whether no list has a word of what happened: of an action, or of a log that is named in another script."""
    said = _said(relation)
    if relation.action is None:
        return not is_readable(said)
    known = words.ONSITE | words.NEGATIVE | words.SHOWN | words.NEUTRAL
    return not said.isdecimal() and not (is_readable(said) and all(one_of(word, known) for word in words.words(said)))


def side_relations(log: Log, events: Sequence[Relation], assumed: bool, notes: Notes) -> list[Relation]:
    """What the rows of a log say of the things themselves: rows that need no consent, unless it is `assumed`."""
    head = _head(log)
    onsite = dict.fromkeys(one.action for one in events if one.domain == "onsite" and one.action is not None)
    offsite = any(one.domain == "offsite" for one in events) and not assumed
    rows = is_in(log, str(log.columns.action), list(onsite)) if offsite and onsite else None
    found = [
        Relation(
            name=side_name(log.columns.ids[tail], type),
            sources=(log.name,),
            lhs=Side(log.columns.ids[tail], tail),
            rhs=Side(type, column),
            conditions=all_of(rows, filled(log, tail), filled(log, column)),
            domain="side",
            weight="1",
            remark=f"each {tail} has one {column}; repeats are summed into one edge",
            left_out=NO_PEOPLE if offsite and not onsite else None,
        )
        for tail, column, type in attributes_of(log, _tails(log, head, Notes()))
    ]
    left = [column for column in log.columns.groups if column not in {relation.rhs.column for relation in found}]
    if unused := [*left, *log.columns.unused, *log.columns.other_times]:
        notes.add(log, f"not used: {listed(unused)}")
    return found


def side_name(lhs: str, rhs: str) -> str:
    return rhs if rhs.startswith(f"{lhs}_") else f"{lhs}_{rhs}"


def _main(log: Log, tails: Sequence[str]) -> list[str]:
    """The tails that do not follow from another one, without those of where and how where there are others."""
    following = {column for _, column, _ in attributes_of(log, tails)}
    main = [tail for tail in tails if tail not in following]
    return [tail for tail in main if not is_context(log.columns.ids[tail])] or main


def _by_action(log: Log, head: str, tails: list[str], action: str, notes: Notes) -> Iterator[Relation]:
    if log.profile.columns[action].whole:
        notes.add(log, f"what the numbers of {action} mean is not known: events off the site are yours to declare "
                       '(domain: "offsite", graph.consent)')  # fmt: skip
    main = _main(log, tails)
    order = [*main, *(tail for tail in tails if tail not in main)]
    for value, (rows, heads, *counts) in log.profile.counts(action, [head, *order]):
        if value is None:
            notes.add(log, f"{rows:,} rows have no {action}; they are left out")
            continue
        about = [tail for tail, count in zip(order, counts, strict=True) if count]
        here = [tail for tail in about if tail in main] or about[:1]
        for tail in here:
            missing = [one for one, count in ((head, heads), (tail, counts[order.index(tail)])) if count < rows]
            conditions = all_of(equals(log, action, value), *(f"{name_of(one)} IS NOT NULL" for one in missing))
            name = plain(value) if not value.isdecimal() else f"{plain(action)}_{value}"
            name = name or plain(action)
            name = name if len(here) == 1 else f"{name}_{log.columns.ids[tail]}"
            yield replace(_event(log, name, head, tail, conditions, rows), action=value)


def _by_label(log: Log, head: str, tails: list[str], notes: Notes) -> Iterator[Relation]:
    notes.add(log, f"has labels ({listed(log.columns.labels)}), as a ranker's impressions have: see docs/ranking.md")
    for label in log.columns.labels:
        conditions = all_of(true(log, label), filled(log, head), filled(log, tails[0]))
        yield _event(log, plain(label), head, tails[0], conditions, log.profile.rows)


def _plain(log: Log, head: str, tails: list[str]) -> Iterator[Relation]:
    main = _main(log, tails)
    base = log.found.group or log.name
    ((rows, *_),) = (counts for _, counts in log.profile.counts(None, []))
    for tail in main:
        name = base if len(main) == 1 else f"{base}_{log.columns.ids[tail]}"
        yield _event(log, name, head, tail, all_of(filled(log, head), filled(log, tail)), rows)


def _event(log: Log, name: str, head: str, tail: str, conditions: tuple[str, ...], rows: int) -> Relation:
    ids = log.columns.ids
    shown = one_of(name, words.SHOWN) and not log.columns.labels
    return Relation(
        name=name,
        sources=(log.name,),
        lhs=Side(ids[head], head),
        rhs=Side(ids[tail], tail),
        conditions=conditions,
        domain="offsite" if one_of(name, words.OFFSITE) or one_of(log.said, words.OFFSITE) else "onsite",
        anchor=not one_of(name, words.NEGATIVE),
        rows=rows,
        remark="not an anchor: what people turn away from" if one_of(name, words.NEGATIVE) else None,
        left_out="what is shown says what the ad server believed, not what people like" if shown else None,
    )
