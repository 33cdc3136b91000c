"""Who opted in, where a source says so in a way that can be read only one way.

A name is taken for consent where all its words are known to say so (`words.AGREED`): `opted_out`, `consent_required`
and `no_consent` hold the same words as `opted_in`, and whatever else a name holds may turn it round.
"""

from collections.abc import Iterable
from typing import Any

from pipeline.proposal import words
from pipeline.proposal.columns import is_person
from pipeline.proposal.log import Log, Notes, listed
from pipeline.proposal.sql import name_of
from pipeline.proposal.words import one_of, singular

YOURS = "graph.consent is yours to write (docs/graph.md)"
MOST_ANSWERS, MOST_SCOPES = 10, 64  # distinct values of a column of answers, and of one that says what they are about


class _Unclear(Exception):
    """Why a source cannot be read one way only."""


def consent_of(logs: Iterable[Log], notes: Notes) -> dict[str, Any] | None:
    """The section `graph.consent`; None, with notes, unless all that speaks of consent is one source that is clear.

    A second source may list those who withdrew it, so none is taken beside one that is not understood.
    """
    about = [log for log in logs if _about(log)]
    found = []
    for log in about:
        try:
            found.append((log, _answers(log)))
        except _Unclear as why:
            notes.add(log, f"seems to say who opted in or out, but {why}; {YOURS}")
    if len(about) == len(found) == 1:
        return found[0][1]
    for log, _ in found:
        others = listed([other.name for other in about if other is not log])
        notes.add(log, f"says who opted in, but {others} may say otherwise; {YOURS}")
    return None


def is_consent(log: Log) -> bool:
    """Whether a source is about consent alone."""
    return _about(log) and (_mentions(log.name) or len(log.columns.ids) == 1)


def _about(log: Log) -> bool:
    return any(map(_mentions, (log.name, *log.profile.columns)))


def _mentions(name: str) -> bool:
    """Whether a name speaks of consent, or of its opposite."""
    return one_of(name, words.CONSENT | words.CONTRARY) or {"do", "not"} <= {*words.words(name)}


def _agrees(name: str, more: Iterable[str] = ()) -> bool:
    """Whether all words of a name may say that somebody agreed, or are `more`; `opt` does only beside `in`."""
    said, known = words.words(name), words.AGREED | {*more}
    opts = [at for at, word in enumerate(said) if word in ("opt", "opted")]
    ins = [at for at, word in enumerate(said) if singular(word) == "in"]
    return all(word in known or singular(word) in known for word in said) and ins == [at + 1 for at in opts]


def _say_so(*names: str) -> bool:
    """Whether one of names that agree says what was agreed to: `granted` and `gdpr` do not."""
    return any(one_of(name, words.SAYS_SO) for name in names)


def _answers(log: Log) -> dict[str, Any]:
    """Raises _Unclear."""
    person = _person(log)
    if _mentions(log.name) and not _agrees(log.name, words.LISTS):
        raise _Unclear(f"the name {log.name} may say consent or its opposite")
    about = {"source": log.name, "type": log.columns.ids[person], "column": person}
    since, until = _interval(log, words.SINCE), _interval(log, words.UNTIL)
    if since and until and since != until:
        return {**about, **_intervals(log, since, until)}
    _require_one_answer_each(log, person)
    column = _answer(log)
    if log.profile.columns[column].type == "BOOLEAN":
        return {**about, "where": name_of(column)}
    answers = log.profile.counts(column, [])
    if missing := sum(rows for value, (rows,) in answers if value is None):
        raise _Unclear(f"{missing:,} rows of {column} have no value")
    values = [str(value) for value, _ in answers]
    yes, no = ([value for value in values if value.lower() in known] for known in (words.YES, words.NO))
    if not yes or not no or len(yes) + len(no) != len(values):
        raise _Unclear(f"{column} holds {listed(values)}, and which of them say yes is not known")
    return {**about, "answer": column, "yes": yes, "no": no}


def _person(log: Log) -> str:
    """The column of people, in a source that has no other ids than those that number its rows."""
    person, ids = log.columns.person, log.columns.ids
    if person is None:
        raise _Unclear("no column of people was found")
    if others := [column for column, type in ids.items() if column != person and not _mentions(type)]:
        raise _Unclear(f"its rows are of {listed(others)}, too")
    return person


def _intervals(log: Log, since: str, until: str) -> dict[str, Any]:
    known = {*words.TIMES, "valid", "effective"}
    if not (
        _say_so(log.name, since, until)
        and _agrees(since, {*words.SINCE, *known})
        and _agrees(until, {*words.UNTIL, *known})
    ):
        raise _Unclear(f"{since} and {until} may be of consent or of its opposite")
    times = {since, until, log.columns.time, *log.columns.other_times}
    if others := [*_candidates(log), *_contrary(log, times), *_scopes(log)]:
        raise _Unclear(
            f"{since} and {until} are intervals, and {listed(list(dict.fromkeys(others)))} stands beside them"
        )
    return {"from_column": since, "to_column": until}


def _answer(log: Log) -> str:
    """The column with answers, which no other contradicts."""
    answers = _candidates(log)
    if not answers:
        raise _Unclear("no column with answers was found")
    if unclear := [column for column in answers if not (_agrees(column) and _say_so(log.name, column))]:
        raise _Unclear(f"{listed(unclear)} may say consent or its opposite")
    if len(answers) > 1:
        raise _Unclear(f"{listed(answers)} may all be answers")
    if contrary := _contrary(log, {*answers}):
        raise _Unclear(f"{listed(contrary)} may say otherwise than {answers[0]}")
    return answers[0]


def _candidates(log: Log) -> list[str]:
    """Columns of few values, where a name says consent: those of yes and no, and those whose names agree."""
    times = {log.columns.time, *log.columns.other_times}
    found = []
    for name, column in log.profile.columns.items():
        few = name not in times and name not in log.columns.ids and 0 < column.distinct <= MOST_ANSWERS
        if few and (_mentions(log.name) or _mentions(name)):
            answers = column.type == "BOOLEAN" or {value.lower() for value in column.values} <= words.YES | words.NO
            if answers or _agrees(name):
                found.append(name)
    return found


def _contrary(log: Log, taken: Iterable[str | None]) -> list[str]:
    """Other columns whose names may say that consent ended, or is none."""
    ended = {*words.WITHDRAWN, *words.UNTIL} - {"to"}
    known = {*words.TIMES, *words.SINCE, *words.OF_NO_EFFECT}
    return [
        name
        for name in log.profile.columns
        if name not in {*taken, *log.columns.ids}
        and (one_of(name, ended) or (_mentions(name) and not _agrees(name, known)))
    ]


def _require_one_answer_each(log: Log, person: str) -> None:
    """Raises _Unclear where a person has answers to several questions, or it is unknown which came last."""
    if scopes := _scopes(log):
        raise _Unclear(f"{listed(scopes)} may say what was agreed to")
    if not log.is_key(person) and log.columns.other_times:
        times = [str(log.columns.time), *log.columns.other_times]
        raise _Unclear(f"people have several answers, and {listed(times)} may each say when")


def _scopes(log: Log) -> list[str]:
    """Columns that may say what an answer is about: by name, or since they differ where people have several rows."""
    columns = log.columns
    known = {columns.time, *columns.other_times, *columns.ids, *_candidates(log)}
    repeated = columns.person is not None and not log.is_key(columns.person)
    return [
        name
        for name, column in log.profile.columns.items()
        if name not in known
        and (
            one_of(name, words.AGREED_TO_WHAT)
            or (repeated and 1 < column.distinct <= MOST_SCOPES and not one_of(name, words.OF_NO_EFFECT))
        )
    ]


def _interval(log: Log, known: Iterable[str]) -> str | None:
    """The one time column whose name says that something begins, or ends."""
    times = [column for column in (log.columns.time, *log.columns.other_times) if column]
    found = [column for column in times if one_of(column, set(known))]
    return found[0] if len(found) == 1 else None


def people_of(logs: Iterable[Log]) -> set[str]:
    return {type for log in logs for type in log.columns.ids.values() if is_person(type)}
