"""Who opted in, where a source says so in a way that can be read only one way."""

from collections.abc import Iterable, Iterator
from typing import Any

from pipeline.proposal import words
from pipeline.proposal.columns import is_person
from pipeline.proposal.log import Log, Notes, listed
from pipeline.proposal.sql import name_of
from pipeline.proposal.words import one_of


def consent_of(logs: Iterable[Log], notes: Notes) -> dict[str, Any] | None:
    """The section `graph.consent`; None, with a note, where nothing says who agreed or several sources do."""
    found = [(log, consent) for log in logs for consent in _answers(log, notes)]
    if len(found) > 1:
        names = listed([f"{log.name} ({consent['column']})" for log, consent in found])
        notes.add(None, f"several sources say who opted in: {names}; graph.consent takes one, the first stands there")
    return found[0][1] if found else None


def is_consent(log: Log) -> bool:
    """Whether a source is about consent alone."""
    return _about(log) and (one_of(log.name, words.CONSENT) or len(log.columns.ids) == 1)


def _about(log: Log) -> bool:
    return bool(log.columns.person) and (
        one_of(log.name, words.CONSENT) or any(one_of(column, words.CONSENT) for column in log.profile.columns)
    )


def _answers(log: Log, notes: Notes) -> Iterator[dict[str, Any]]:
    person = log.columns.person
    if person is None or not _about(log):
        return
    about = {"source": log.name, "type": log.columns.ids[person], "column": person}
    since, until = _interval(log, words.SINCE), _interval(log, words.UNTIL)
    if since and until and since != until:
        yield {**about, "from_column": since, "to_column": until}
        return
    answers = [column for column in log.profile.columns if column not in log.columns.ids and _says(log, column)]
    if len(answers) != 1:
        what = f"{listed(answers)} may all be answers" if answers else "no column with answers was found"
        notes.add(log, f"seems to say who opted in, but {what}; graph.consent is yours to write (docs/graph.md)")
        return
    column = answers[0]
    if log.profile.columns[column].type == "BOOLEAN":
        yield {**about, "where": name_of(column)}
        return
    values = [value for value, _ in log.profile.counts(column, []) if value is not None]
    yes, no = ([value for value in values if value.lower() in known] for known in (words.YES, words.NO))
    if not yes or not no or len(yes) + len(no) != len(values):
        notes.add(log, f"{column} holds {listed(values)}: which of them say yes is yours to write (graph.consent)")
        return
    yield {**about, "answer": column, "yes": yes, "no": no}


def _says(log: Log, column: str) -> bool:
    """Whether a column may hold answers: its name says consent, or the source's does and its values are few."""
    few = 0 < log.profile.columns[column].distinct <= 10
    return few and (one_of(column, words.CONSENT) or one_of(log.name, {*words.CONSENT}) and column in _short(log))


def _short(log: Log) -> list[str]:
    times = {log.columns.time, *log.columns.other_times}
    return [name for name, column in log.profile.columns.items() if 0 < column.distinct <= 10 and name not in times]


def _interval(log: Log, known: Iterable[str]) -> str | None:
    """The one time column whose name says that something begins, or ends."""
    times = [column for column in (log.columns.time, *log.columns.other_times) if column]
    found = [column for column in times if one_of(column, set(known))]
    return found[0] if len(found) == 1 else None


def people_of(logs: Iterable[Log]) -> set[str]:
    return {type for log in logs for type in log.columns.ids.values() if is_person(type)}
