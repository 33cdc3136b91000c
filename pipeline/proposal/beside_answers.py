"""What stands beside an answer of consent, and whether it is known to leave that answer what it is.

A name is taken for consent where all its words are known to say so (`words.AGREED`): `opted_out`, `consent_required`
and `no_consent` hold the same words as `opted_in`, and whatever else a name holds may turn it round. So may any column
beside an answer turn it round, end it or limit it (`event`, `valid_till`, `objected`, `purpose`), in words that no list
has in full: so what says nothing of the kind is listed, and all else is left to a person.
"""

import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from pipeline.proposal import words
from pipeline.proposal.log import Log
from pipeline.proposal.words import one_of, singular

if TYPE_CHECKING:
    from partitioning import Column

MOST_SCOPES = 64  # distinct values of a column that says what an answer is about
FLAG = 2  # distinct values of a column that may say yes or no in any language
AGAINST = words.CONTRARY | words.WITHDRAWN | words.FORGET
_OF_PEOPLE = words.OF_WHOM | words.PEOPLE
_SAID = words.SAYS_SO | words.PEOPLE | {"opt", "opted", "gdpr"}  # what may stand beside a word of no effect


def mentions(name: str) -> bool:
    """Whether a name speaks of consent, or of its opposite."""
    return one_of(name, words.CONSENT | words.CONTRARY) or {"do", "not"} <= {*words.words(name)}


def agrees(name: str, more: Iterable[str] = ()) -> bool:
    """Whether all words of a name may say that somebody agreed, or are `more`."""
    return _known(name, words.AGREED | {*more})


def _known(name: str, known: Collection[str]) -> bool:
    """Whether a name has no more than known words; `opt` is known only beside `in`, and `!` may be a `not`."""
    said = words.words(name)
    opts = [at for at, word in enumerate(said) if word in ("opt", "opted")]
    ins = [at for at, word in enumerate(said) if singular(word) == "in"]
    return (
        re.fullmatch(r"\w[\w\s.-]*", name) is not None
        and said != []
        and all(word in known or singular(word) in known for word in said)
        and ins == [at + 1 for at in opts]
    )


def say_so(*names: str) -> bool:
    """Whether one of names that agree says what was agreed to: `granted` and `gdpr` do not."""
    return any(one_of(name, words.SAYS_SO) for name in names)


def yes_or_no(column: "Column") -> bool:
    """Whether a column answers a question; `no` and `in` alone are countries as well."""
    values = {value.lower() for value in column.values}
    return column.type == "BOOLEAN" or (bool(values) and values <= words.YES | words.NO and not values <= {"no", "in"})


def times(log: Log) -> list[str]:
    """The columns of times."""
    return [one for one in (log.columns.time, *log.columns.other_times) if one]


def permits(log: Log) -> list[str]:
    """Of a table of people, the columns of yes and no whose names may say that something is allowed."""
    if log.columns.person is None or not log.columns.only:
        return []
    columns = log.profile.columns.items()
    return [name for name, column in columns if one_of(name, words.PERMITS) and yes_or_no(column)]


def unexplained(log: Log, taken: Collection[str]) -> list[str]:
    """The other columns that may say that an answer does not hold, or what it is about."""
    names = (*log.profile.columns, *log.profile.unread)
    return [name for name in names if name not in taken and not says_nothing(log, name)]


def says_nothing(log: Log, name: str) -> bool:
    """Whether a column is known to leave each answer what it is; of people, whether nothing speaks against that."""
    column = log.profile.columns.get(name)
    if column is None:
        return False
    if name in log.columns.ids:  # one that is no key may number the questions
        return log.is_key(name) and _known(name, _SAID | {*words.ID_ENDINGS})
    if name in times(log):
        return agrees(name, {*words.TIMES, *words.WHEN}) or _known(name, _OF_PEOPLE | words.SEEN | {*words.TIMES})
    if column.type == "BOOLEAN" or any(one_of(value, AGAINST) for value in column.values):
        return False
    if one_of(name, words.OF_WHOM) and _known(name, _OF_PEOPLE):
        return not yes_or_no(column) and not _differs(log, name)
    harmless = {*words.OF_NO_EFFECT, *words.TIMES}
    if one_of(name, harmless) and _known(name, harmless | _SAID):
        repeated = one_of(name, words.HOW) and _people_repeat(log) and column.distinct > 1
        return not repeated and ("version" in words.words(name) or not yes_or_no(column))
    return _is_of_people(log.said) and not _speaks(log, name)


def _speaks(log: Log, name: str) -> bool:
    """Whether a column of people may bear on an answer, by its name or its values."""
    column = log.profile.columns[name]
    return (
        mentions(name)
        or one_of(name, AGAINST | words.TO_WHAT | {*words.UNTIL, "valid"})
        or column.unit is not None  # numbers that may be times
        or 0 < column.distinct <= FLAG
        or yes_or_no(column)
        or any(map(mentions, column.values))
        or (_people_repeat(log) and 1 < column.distinct <= MOST_SCOPES)
    )


def _is_of_people(name: str) -> bool:
    """Whether a source is a table of people, whose columns are attributes, and not one of answers."""
    return one_of(name, words.PEOPLE) and not mentions(name)


def _people_repeat(log: Log) -> bool:
    return log.columns.person is not None and log.profile.repeats(log.columns.person)


def _differs(log: Log, name: str) -> bool:
    """Whether a column of few values may have several for one person."""
    if not _people_repeat(log) or not 1 < log.profile.columns[name].distinct <= MOST_SCOPES:
        return False
    return not log.profile.determined(name, by=str(log.columns.person))
