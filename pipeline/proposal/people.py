"""Ids whose column does not say whose they are, such as a bare `uid`: of people, where other sources know them."""

from collections.abc import Sequence
from dataclasses import replace

from pipeline.proposal.columns import is_person
from pipeline.proposal.log import Log, Notes, listed
from pipeline.proposal.words import THINGS, says_user, stem_of

LOOKED_AT = 1000  # ids of a column that are looked for among those of people
MOST_OF = 0.5  # share of them from which on they are people


def of_known_people(logs: Sequence[Log], notes: Notes) -> list[Log]:
    """The same with the type of people for columns that are named after their source, and hold ids of one such type."""
    found = []
    for log in logs:
        types = {column: _type(log, column, logs, notes) for column in log.columns.ids}
        found.append(replace(log, columns=replace(log.columns, ids=types)))
    return found


def _type(log: Log, column: str, logs: Sequence[Log], notes: Notes) -> str:
    own = log.columns.ids[column]
    if not _may_be_of_people(log, column):
        return own
    ids = log.profile.some(column, LOOKED_AT)
    known = _known(ids, log, logs)
    most = [type for type, count in known.items() if count >= MOST_OF * len(ids)]
    shares = listed([f"{count:,} of {len(ids):,} are ids of {type}" for type, count in known.items() if count])
    if len(most) == 1:
        notes.add(log, f"{column} is taken for {most[0]}, since {shares}")
        return most[0]
    if shares or says_user(column):
        ways = " or ".join(f'type: "{type}"' for type in known) or 'type: "user"'
        why = f" ({shares})" if shares else ""
        notes.add(log, f"{column} is of a type of its own, {own}; where it is of people{why}, write {ways} for it")
    return own


def _may_be_of_people(log: Log, column: str) -> bool:
    """Whether nothing but the source says whose ids they are. Whole numbers of two kinds are often the same: they are
    only looked at where the name says user."""
    own, whole = log.columns.ids[column], log.profile.columns[column].whole
    if stem_of(column) != "" or is_person(own):
        return False
    return not whole or (says_user(column) and own not in THINGS)


def _known(ids: list[str], log: Log, logs: Sequence[Log]) -> dict[str, int]:
    """How many of some ids each type of people has in another source; where several have it, in the one with most."""
    known: dict[str, int] = {}
    for other in logs:
        for column, type in other.columns.ids.items() if other is not log else ():
            if is_person(type):
                known[type] = max(known.get(type, 0), other.profile.known(column, ids))
    return known
