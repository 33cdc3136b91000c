"""Who opted in, where a source says so in a way that can be read only one way."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pipeline.proposal import words
from pipeline.proposal.beside_answers import (
    AGAINST,
    agrees,
    mentions,
    permits,
    say_so,
    says_nothing,
    times,
    unexplained,
    yes_or_no,
)
from pipeline.proposal.columns import is_person
from pipeline.proposal.log import Log, Notes, listed
from pipeline.proposal.sql import name_of
from pipeline.proposal.words import is_readable, one_of

YOURS = "graph.consent is yours to write (docs/graph.md)"
MOST_ANSWERS = 10  # distinct values of a column of answers


class _Unclear(Exception):
    """Why a source cannot be read one way only. `section`: what it would be, where only something beside it may say
    otherwise."""

    def __init__(self, why: str, section: dict[str, Any] | None = None) -> None:
        super().__init__(why)
        self.section = section


@dataclass(frozen=True)
class Consent:
    """The section `graph.consent` as it is taken, or else as it would be if nothing spoke against it."""

    taken: dict[str, Any] | None = None
    doubted: dict[str, Any] | None = None


def consent_of(logs: Iterable[Log], notes: Notes) -> Consent:
    """None is taken, with notes, unless all that speaks of consent is one source that is clear.

    A second source may list those who withdrew it, so none is taken beside one that is not understood.
    """
    logs = list(logs)
    about = [log for log in logs if _about(log)]
    found, doubtful = [], []
    for log in about:
        try:
            found.append((log, _answers(log)))
        except _Unclear as why:
            notes.add(log, f"seems to say who opted in or out, but {why}; {YOURS}")
            doubtful += [why.section] if why.section else []
    doubted = [log for log in logs if log in about or _may_withdraw(log)]
    if len(doubted) == len(found) == 1:
        return Consent(taken=found[0][1])
    for log, _ in found:
        others = listed([other.name for other in doubted if other is not log])
        notes.add(log, f"says who opted in, but {others} may say otherwise; {YOURS}")
    sections = [*(section for _, section in found), *doubtful]
    return Consent(doubted=sections[0] if len(sections) == 1 else None)


def is_consent(log: Log) -> bool:
    """Whether a source is about consent alone."""
    return _about(log) and (mentions(log.said) or log.columns.only)


def _about(log: Log) -> bool:
    return any(map(mentions, (log.said, *log.profile.columns, *log.profile.unread))) or bool(permits(log))


def _may_withdraw(log: Log) -> bool:
    """Whether a source may list people who withdrew: a name or an action says so, or it lists people and no name says
    what for."""
    if _of_trade(log.said):
        return False
    alone = log.columns.person is not None and log.columns.only
    names = (*log.profile.columns, *log.profile.unread) if alone else ()
    if any(one_of(name, AGAINST) for name in (log.said, *names)):
        return True
    if any(mentions(action) or one_of(action, words.ENDS) for action in _actions(log)) or (alone and _ended(log)):
        return True
    return alone and not _names_people(log.said) and not any(one_of(name, words.OF_WHOM) for name in names)


def _names_people(name: str) -> bool:
    """Whether a name says that a source is of people, or what it keeps of them, and no more: a word that no list has
    may say in any language that they refused."""
    known = words.PEOPLE | words.LISTS | words.RECORDS
    return is_readable(name) and all(word.isdecimal() or one_of(word, known) for word in words.words(name))


def _of_trade(name: str) -> bool:
    """Whether a name says that orders and the like were cancelled, and no more."""
    known = words.WITHDRAWN | words.TRADE | words.LISTS
    return is_readable(name) and one_of(name, words.TRADE) and all(one_of(word, known) for word in words.words(name))


def _ended(log: Log) -> bool:
    """Whether a column of few values says of some people that they agreed to nothing, or no longer."""
    few = [one for one in log.profile.columns.values() if one.distinct <= MOST_ANSWERS]
    return any(mentions(value) or one_of(value, AGAINST) for one in few for value in one.values)


def _actions(log: Log) -> list[str]:
    action = log.columns.action
    return [value for value, _ in log.profile.counts(action, []) if value is not None] if action else []


def _answers(log: Log) -> dict[str, Any]:
    """Raises _Unclear."""
    person = _person(log)
    if mentions(log.said) and not agrees(log.said, words.LISTS):
        raise _Unclear(f"the name {log.said} may say consent or its opposite")
    about = {"source": log.name, "type": log.columns.ids[person], "column": person}
    since, until = _interval(log, words.SINCE), _interval(log, words.UNTIL)
    if since and until and since != until:
        return {**about, **_intervals(log, person, since, until)}
    column, time = _answer(log), _time(log, person)
    section = {**about, **_yes_and_no(log, column), **({"time_column": time} if time else {})}
    if others := unexplained(log, {person, column}):
        raise _Unclear(f"{listed(others)} may say otherwise than {column}, or to what", section)
    if not (mentions(log.said) or _names_people(log.said)):
        raise _Unclear(f"the name {log.said} may say otherwise than {column}", section)
    return section


def _yes_and_no(log: Log, column: str) -> dict[str, Any]:
    """Which answers of a column say yes."""
    if log.profile.columns[column].type == "BOOLEAN":
        return {"where": name_of(column)}
    answers = log.profile.counts(column, [])
    if missing := sum(rows for value, (rows,) in answers if value is None):
        raise _Unclear(f"{missing:,} rows of {column} have no value")
    values = [str(value) for value, _ in answers]
    yes, no = ([value for value in values if value.lower() in known] for known in (words.YES, words.NO))
    if not yes or not no or len(yes) + len(no) != len(values):
        raise _Unclear(f"{column} holds {listed(values)}, and which of them say yes is not known")
    return {"answer": column, "yes": yes, "no": no}


def _person(log: Log) -> str:
    """The column of people, in a source that has no other ids than those that number its rows."""
    person, ids = log.columns.person, log.columns.ids
    if person is None:
        raise _Unclear("no column of people was found")
    if others := [column for column, type in ids.items() if column != person and not mentions(type)]:
        raise _Unclear(f"its rows are of {listed(others)}, too")
    return person


def _intervals(log: Log, person: str, since: str, until: str) -> dict[str, Any]:
    known = {*words.TIMES, "valid", "effective"}
    if not (
        say_so(log.said, since, until)
        and agrees(since, {*words.SINCE, *known})
        and agrees(until, {*words.UNTIL, *known})
    ):
        raise _Unclear(f"{since} and {until} may be of consent or of its opposite")
    if others := unexplained(log, {person, since, until}):
        raise _Unclear(f"{since} and {until} are intervals, and {listed(others)} stands beside them")
    if len({unit for one in (since, until) if (unit := log.profile.columns[one].unit)}) > 1:
        raise _Unclear(f"{since} and {until} count in different units")
    return {"from_column": since, "to_column": until}


def _answer(log: Log) -> str:
    """The column with answers, which no other such column contradicts."""
    answers = _candidates(log)
    if not answers:
        raise _Unclear("no column with answers was found")
    if unclear := [column for column in answers if not (agrees(column) and say_so(log.said, column))]:
        raise _Unclear(f"{listed(unclear)} may say consent or its opposite")
    if len(answers) > 1:
        raise _Unclear(f"{listed(answers)} may all be answers")
    return answers[0]


def _candidates(log: Log) -> list[str]:
    """Columns of few values, where a name says consent: those of yes and no, and those whose names agree."""
    found = []
    for name, column in log.profile.columns.items():
        few = name not in {*times(log), *log.columns.ids} and 0 < column.distinct <= MOST_ANSWERS
        about = (mentions(log.said) or mentions(name)) and not says_nothing(log, name)
        if few and about and (yes_or_no(column) or agrees(name)):
            found.append(name)
    return found or permits(log)


def _time(log: Log, person: str) -> str | None:
    """When people answered; None where no time, or no one of several, says it, and none is needed. Raises _Unclear."""
    found = [time for time in times(log) if agrees(time, {*words.TIMES, *words.WHEN})]
    if len(found) > 1 and log.profile.repeats(person):
        raise _Unclear(f"people have several answers, and {listed(found)} may each say when")
    return found[0] if len(found) == 1 else None


def _interval(log: Log, known: Iterable[str]) -> str | None:
    """The one time column whose name says that something begins, or ends."""
    found = [column for column in times(log) if one_of(column, set(known))]
    return found[0] if len(found) == 1 else None


def people_of(logs: Iterable[Log]) -> set[str]:
    return {type for log in logs for type in log.columns.ids.values() if is_person(type)}
