"""Side relations of tables: what an ad belongs to, which items go together."""

from collections.abc import Iterator
from dataclasses import replace

from partitioning import NOT_IN_ALL
from pipeline.proposal.columns import is_person
from pipeline.proposal.events import side_name
from pipeline.proposal.log import NO_PEOPLE, Log, Notes, Relation, Side, listed
from pipeline.proposal.sql import all_of, filled
from pipeline.proposal.words import OFFSITE, one_of


def sides_of(log: Log, assumed: bool, notes: Notes) -> list[Relation]:
    """The relations of a table, from the ids that it is about to all others. The rows of a table of orders, or the
    like, are what people did off the site, unless consent is `assumed`."""
    columns = log.columns
    if not log.profile.columns:
        notes.add(log, f"{_why_none(log)}; the source is left out")
        return []
    key = next((column for column in columns.ids if log.is_key(column)), None)
    key = key or log.snapshot_of or next(iter(columns.ids), None)
    if key is None:
        notes.add(log, f"no column of ids was found among {listed(list(log.profile.columns))}; the source is left out")
        return []
    if is_person(columns.ids[key]):
        notes.add(log, "holds attributes of people, which are left out; a side relation would bring one in")
        return []
    if people := [column for column, type in columns.ids.items() if is_person(type)]:
        notes.add(log, f"{listed(people)}: of people, whom a side relation would bring in; it is left out")
    done = not assumed and any(one_of(said, OFFSITE) for said in (log.said, *columns.ids.values()))
    found = [replace(one, left_out=NO_PEOPLE) if done else one for one in _relations(log, key)]
    if not found:
        notes.add(log, f"nothing beside {key} that joins it to others; the source is left out")
    if unused := [column for column in columns.groups if column not in {one.rhs.column for one in found}]:
        notes.add(log, f"{listed(unused)}: not used, since rows are not one for each {key}")
    return found


def _relations(log: Log, key: str) -> Iterator[Relation]:
    ids, unique, dated = log.columns.ids, log.is_key(key), log.snapshot_of is not None
    others = {column: type for column, type in ids.items() if column != key and not is_person(type)}
    for column, type in {**others, **(log.columns.groups if unique or dated else {})}.items():
        same = type == ids[key]
        yield Relation(
            name=log.name if same else side_name(ids[key], type),
            sources=(log.name,),
            lhs=Side(ids[key], key),
            rhs=Side(type, column),
            conditions=all_of(filled(log, key), filled(log, column)),
            domain="side",
            weight=None if unique or len(ids) == 2 and not dated else "1",
            remark="each date has the whole table; repeats are summed into one edge" if dated and not unique else None,
            rows=log.profile.rows,
        )


def _why_none(log: Log) -> str:
    """Why a source has no columns that can be read."""
    if NOT_IN_ALL not in log.profile.unread.values():
        return f"no column has single values ({listed(list(log.profile.unread))} are nested)"
    way_out = "expected those of one source to have the same ones, and other tables in directories of their own"
    return f"its files share no column ({listed(list(log.profile.unread))}); {way_out}"
