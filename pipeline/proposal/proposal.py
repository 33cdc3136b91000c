"""The whole proposal: sources, relations, consent, split and model, from logs that have been looked at."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from artifacts.errors import DataError
from partitioning import NOT_IN_ALL
from pipeline.proposal.columns import is_person
from pipeline.proposal.consent import Consent, consent_of, is_consent, people_of
from pipeline.proposal.events import events_of, is_log, side_relations, with_siblings
from pipeline.proposal.log import NO_PEOPLE, Log, Notes, Relation, listed
from pipeline.proposal.people import of_known_people
from pipeline.proposal.split import Split, split_of
from pipeline.proposal.tables import sides_of
from pipeline.proposal.words import FORGET, is_made_up, one_of, stem_of

NO_CONSENT = "what people do off the site needs graph.consent, which says who opted in (or --assume-consent WHY)"
_WAYS = (
    "LOGS need a source of who opted in, such as consent.csv with user_id and opted_in; where all agreed, or all of it "
    'happens on your own site, say so: --assume-consent "..."'
)
_NO_IDS = ("DOUBLE", "FLOAT", "DECIMAL", "BLOB")  # types
_ODD_IDS = r"(?i)(null|none|nan|nil|n/?a|undefined|unknown|-|-1|\s.*|.*\s|-?\d+\.0*)"


@dataclass(frozen=True)
class Proposal:
    """What a config is written from. `relations` includes those that only stand in comments."""

    logs: dict[str, Log]
    relations: tuple[Relation, ...]
    consent: dict[str, Any] | None
    doubted: dict[str, Any] | None  # a section `consent` that stands in a comment
    split: Split
    notes: tuple[str, ...]

    @property
    def used(self) -> tuple[Relation, ...]:
        return tuple(relation for relation in self.relations if not relation.left_out)

    @property
    def sources(self) -> dict[str, Log]:
        """The sources that are used, in the order in which they were found."""
        named = {source for relation in self.used for source in relation.sources}
        named |= {self.consent["source"]} if self.consent and "source" in self.consent else set()
        return {name: log for name, log in self.logs.items() if name in named}

    @property
    def commented(self) -> dict[str, Log]:
        """The sources that only comments name: those of relations that are left out, and of a doubted consent."""
        named = {source for relation in self.relations for source in relation.sources}
        named |= {self.doubted["source"]} if self.doubted else set()
        return {name: log for name, log in self.logs.items() if name in named and name not in self.sources}

    @property
    def commented_types(self) -> tuple[str, ...]:
        found = dict.fromkeys(side.type for one in self.relations for side in (one.lhs, one.rhs))
        return tuple(type for type in found if type not in self.types)

    @property
    def types(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(side.type for one in self.used for side in (one.lhs, one.rhs)))

    @property
    def events(self) -> tuple[Relation, ...]:
        return tuple(relation for relation in self.used if relation.domain != "side")

    @property
    def rows(self) -> int:
        return sum(relation.rows for relation in self.events)


def propose(logs: Sequence[Log], assumed: str | None, notes: Notes) -> Proposal:
    """Raises DataError where no relation can be proposed, with what was seen in each source. Adds to `notes`."""
    logs = of_known_people(logs, notes)
    remembered = [log for log in logs if not _is_list_to_forget(log, notes)]
    answers = Consent({"assumed": assumed}) if assumed else consent_of(remembered, notes)
    consent = answers.taken
    kept = [log for log in remembered if not is_consent(log)]
    for log in kept:
        _note_odd_ids(log, notes)
    events = _without_impressions({log.name: events_of(log, notes) for log in kept if is_log(log)}, kept, notes)
    events = with_siblings(events, kept, notes)
    sides = _once([one for log in kept for one in _sides(log, events, assumed is not None, notes)], events, notes)
    found = _named([*_joined([one for many in events.values() for one in many], kept), *sides])
    if not any(relation.domain != "side" for relation in found):
        found = [replace(one, domain="onsite", anchor=True) if one.domain == "side" else one for one in found]
    found = [_with_consent(relation, consent) for relation in found]
    if not [relation for relation in found if relation.domain != "side" and not relation.left_out]:
        raise DataError(*_why_nothing(found, notes))
    _note_left_out(found, notes)
    _note_people(kept, notes)
    by_name = {log.name: log for log in logs}
    used = {name: by_name[name] for one in found if one.domain != "side" and not one.left_out for name in one.sources}
    happened = [one for one in found if one.domain != "side" and not one.left_out]
    split = split_of(list(used.values()), happened, notes)
    taken, doubted = (one if _needs(one, found) else None for one in (consent, answers.doubted))
    if doubted:
        notes.add(None, f"graph.consent as {doubted['source']} alone would say it stands in a comment: if that is "
                        "right, uncomment it, its source and the relations that need it")  # fmt: skip
    proposal = Proposal(by_name, tuple(found), taken, doubted, split, ())
    if unread := [name for name in by_name if name not in proposal.sources]:
        notes.add(None, f"no part of the config reads {listed(unread, most=len(unread))}")
    return replace(proposal, notes=tuple(notes.lines))


def _needs(consent: dict[str, Any] | None, relations: Iterable[Relation]) -> bool:
    """Whether consent is asked for, or is by one in a comment as soon as a person has corrected its type."""
    relations = list(relations)
    types = {side.type for one in relations if not one.left_out for side in (one.lhs, one.rhs)}
    known = consent is not None and ("type" not in consent or consent["type"] in types)
    return known and any(one.domain == "offsite" for one in relations)


def _note_odd_ids(log: Log, notes: Notes) -> None:
    """Columns that are named as ids are and hold what is none, or writes one in another way than other logs may; types
    whose name says nothing."""
    for name, type in log.columns.ids.items():
        if is_made_up(type):
            notes.add(log, f"{name} is taken for ids of a type {type}: what they are of is not known, and the name of "
                           "a type has letters from a to z; any other will do")  # fmt: skip
    for name in log.columns.ids:
        if (odd := log.profile.example(name, _ODD_IDS)) is not None:
            notes.add(log, f"{name} has ids such as '{odd}', which are taken as they are: a `where` is yours to write")
    odd_types = {name: one.type for name, one in log.profile.columns.items() if one.type.startswith(_NO_IDS)}
    for name, kind in (odd_types | log.profile.unread).items():
        if stem_of(name) is not None:
            why = "" if kind == NOT_IN_ALL else ", and ids are text or whole numbers"
            notes.add(log, f"{name} is {kind}{why}; it is not taken for one")


def _is_list_to_forget(log: Log, notes: Notes) -> bool:
    """Whether a source's name says so, or a column of a source of people; in a log of events it only gets its note."""
    named = one_of(log.said, FORGET)
    columns = [column for column in log.profile.columns if one_of(column, FORGET)] if log.columns.person else []
    if not named and not columns:
        return False
    by = "" if named else f" ({listed(columns)})"
    notes.add(log, f"seems to list whom to forget{by}; graph.forget is yours to write (docs/graph.md)")
    return named or log.columns.only


def _without_impressions(
    events: dict[str, list[Relation]], logs: Iterable[Log], notes: Notes
) -> dict[str, list[Relation]]:
    """Logs of impressions with labels are the ranker's where other logs hold the events themselves."""
    labelled = [log for log in logs if log.name in events and log.columns.labels and not log.columns.action]
    if len(labelled) == len(events):
        return events
    for log in labelled:
        parquet = all(path.suffix.lower() in (".parquet", ".pq") for path in log.found.files)
        can = "can read it" if parquet else "can read it as Parquet"
        notes.add(log, f"left out of the graph, since other logs hold the events: a section `ranker` {can}")
    return {name: found for name, found in events.items() if name not in {log.name for log in labelled}}


def _sides(log: Log, events: dict[str, list[Relation]], assumed: bool, notes: Notes) -> list[Relation]:
    if log.name in events:
        return side_relations(log, events[log.name], assumed, notes) if events[log.name] else []
    return [] if is_log(log) else sides_of(log, assumed, notes)


def _once(sides: Sequence[Relation], logs: Collection[str], notes: Notes) -> list[Relation]:
    """Without side relations of logs that a table has, too, with a row for each."""
    tables = {(one.name, one.lhs.type, one.rhs.type): one.sources[0] for one in sides if one.sources[0] not in logs}
    found = []
    for one in sides:
        table = tables.get((one.name, one.lhs.type, one.rhs.type))
        if one.sources[0] in logs and table is not None:
            notes.add(None, f"{one.name}: read from {table} alone, though {one.sources[0]} holds it, too")
        else:
            found.append(one)
    return found


def _joined(relations: Iterable[Relation], logs: Iterable[Log]) -> list[Relation]:
    """One relation of the train, valid and test files of a log, with the conditions of all."""
    group = {log.name: log.found.group for log in logs}
    joined: dict[tuple[Any, ...], Relation] = {}
    for one in relations:
        key = (group[one.sources[0]] or one.sources[0], one.name, one.action, one.lhs, one.rhs)
        if before := joined.get(key):
            one = replace(
                before,
                sources=(*before.sources, *one.sources),
                conditions=tuple(dict.fromkeys((*before.conditions, *one.conditions))),
                rows=before.rows + one.rows,
            )
        joined[key] = one
    return list(joined.values())


def _named(relations: Iterable[Relation]) -> list[Relation]:
    """The same with a name each: the second of a name gets that of its source before it, then a number."""
    taken: set[str] = set()
    found = []
    for one in relations:
        tried = [one.name, f"{one.sources[0]}_{one.name}", *(f"{one.name}_{number}" for number in range(2, 1000))]
        name = next(name for name in tried if name not in taken)
        taken.add(name)
        found.append(replace(one, name=name))
    return found


def _with_consent(relation: Relation, consent: dict[str, Any] | None) -> Relation:
    """An offsite relation is left out unless the people of it could agree."""
    if relation.domain != "offsite" or relation.left_out:
        return relation
    if consent is None:
        return replace(relation, left_out=NO_CONSENT)
    if "type" in consent and consent["type"] not in (relation.lhs.type, relation.rhs.type):
        type, side = consent["type"], relation.lhs
        way = f'where {side.column} holds the same people, write type: "{type}" for it and uncomment the relation'
        return replace(relation, left_out=f"consent is given by {type}, and this is of {side.type}; {way}")
    return relation


def _note_left_out(relations: Iterable[Relation], notes: Notes) -> None:
    """One line for each reason."""
    reasons: dict[str, list[str]] = {}
    for one in relations:
        if one.left_out:
            reasons.setdefault(one.left_out, []).append(one.name)
    for reason, names in reasons.items():
        notes.add(None, f"{listed(names)}: in a comment only; {reason}")


def _why_nothing(relations: Sequence[Relation], notes: Notes) -> list[str]:
    if not any(one.left_out for one in relations):
        return ["init: no relation can be proposed; expected a log with a column of who acts, such as user_id, and "
                "one of what they act on, such as ad_id", *notes.lines]  # fmt: skip
    told = notes.lines[:]
    _note_left_out(relations, notes)
    why = [line.replace(": in a comment only; ", ": ") for line in notes.lines[len(told) :]]
    asked = any(one.left_out in (NO_CONSENT, NO_PEOPLE) for one in relations)
    return ["init: all that people do in these logs would be left out", *why, *([_WAYS] if asked else []), *told]


def _note_people(logs: Iterable[Log], notes: Notes) -> None:
    people = sorted(type for type in people_of(logs) if is_person(type))
    if len(people) > 1:
        notes.add(None, f"{listed(people)} are told apart; if they are the same people, give them one type")
