"""What each column of a source is: ids of a type, the time, the action, a label, a group, or nothing of use."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.proposal import words
from pipeline.proposal.words import by_noun, is_number, one_of, singular, stem_of, type_name

if TYPE_CHECKING:
    from partitioning import Column

MOST_ACTIONS, MOST_GROUPS = 40, 5000


@dataclass(frozen=True)
class Columns:
    """The columns of a source that a config can use, by role, and those that it leaves."""

    ids: dict[str, str] = field(default_factory=dict)  # entity type by column, in the order of the columns
    time: str | None = None
    time_unit: str | None = None
    other_times: tuple[str, ...] = ()
    action: str | None = None
    labels: tuple[str, ...] = ()
    groups: dict[str, str] = field(default_factory=dict)  # entity type by column of few values
    unused: tuple[str, ...] = ()

    def of_type(self, types: Collection[str]) -> list[str]:
        return [column for column, type in self.ids.items() if type in types]

    @property
    def only(self) -> bool:
        """Whether rows are of one column of ids alone, beside such as only a noun says (`store_code`)."""
        main = self.person or next(iter(self.ids), None)
        return main is not None and all(column == main or by_noun(column) for column in self.ids)

    @property
    def person(self) -> str | None:
        """The first column of people."""
        return next((column for column, type in self.ids.items() if is_person(type)), None)


def is_person(type: str) -> bool:
    said = type.split("_")
    return said[-1] in words.PEOPLE or (said[-1] == "pseudo" and said[0] in words.PEOPLE)


def columns_of(source: str, found: Mapping[str, "Column"], stems: Collection[str]) -> Columns:
    """The roles of a source's columns. `stems`: what columns of ids of any source are of."""
    times = [name for name, column in found.items() if _is_time(column)]
    time = min(times, key=lambda name: _rank(found[name], found), default=None)
    ids = {name: type for name, column in found.items() if name not in times and (type := _type(source, column, stems))}
    ids = _needed(_without_names(ids), found)
    action = next((name for name, column in found.items() if name not in ids and _is_action(column)), None)
    labels = [name for name, column in found.items() if _is_label(column)]
    groups = {
        name: type_name(name)
        for name, column in found.items()
        if name not in {*ids, action, *labels} and _is_group(column) and type_name(name) not in {"", *ids.values()}
    }
    taken = {*ids, *times, action, *labels, *groups}
    return Columns(
        ids=ids,
        time=time,
        time_unit=found[time].unit if time else None,
        other_times=tuple(name for name in times if name != time),
        action=action,
        labels=tuple(labels),
        groups=groups,
        unused=tuple(name for name in found if name not in taken),
    )


def stems_of(found: Mapping[str, "Column"]) -> set[str]:
    return {stem for name in found if (stem := stem_of(name))}


def _type(source: str, column: "Column", stems: Collection[str]) -> str | None:
    """The entity type of a column of ids; None for another column."""
    stem = stem_of(column.name)
    if stem is None or not _can_be_id(column) or (by_noun(column.name) and _is_answer_or_place(column)):
        return None
    first, _, rest = stem.partition("_")
    if first in words.OTHER_OF_A_TYPE and rest in stems:
        stem = rest
    return type_name(stem) or type_name(_rows_of(source))


def _rows_of(source: str) -> str:
    """What the rows of a source are, by its name: `order` of `orders_export`."""
    said = source.split("_")
    return singular(next((word for word in reversed(said) if word not in words.COPIES), said[-1]))


def _without_names(ids: Mapping[str, str]) -> dict[str, str]:
    """Ids without `department` beside `department_id`, which is its name."""
    bare = {column: words.words(column)[-1] == stem_of(column) for column in ids}
    sure = {stem_of(column) for column in ids if not bare[column] and not by_noun(column)}
    return {column: type for column, type in ids.items() if not bare[column] or stem_of(column) not in sure}


def _needed(ids: Mapping[str, str], found: Mapping[str, "Column"]) -> dict[str, str]:
    """Ids without those that only a noun says where they bring nothing new, and beside people of whom each has one row,
    whose attributes they are."""
    sure = [type for column, type in ids.items() if not by_noun(column)]
    kept = {
        column: type
        for column, type in ids.items()
        if not by_noun(column) or not (type in sure or (is_person(type) and any(map(is_person, sure))))
    }
    person = next((found[column] for column, type in kept.items() if is_person(type)), None)
    if person is None or person.distinct < person.filled:
        return kept
    return {column: type for column, type in kept.items() if column == person.name or not by_noun(column)}


def _can_be_id(column: "Column") -> bool:
    return column.filled > 0 and (column.whole or column.type in ("VARCHAR", "UUID") or column.type.startswith("ENUM"))


def _is_answer_or_place(column: "Column") -> bool:
    """Whether `member_no` says yes and no, and `item_no` which of a few an item is."""
    answers = {value.lower() for value in column.values} <= words.YES | words.NO
    return column.values != () and (answers or (column.whole and is_number(column.name)))


def _is_time(column: "Column") -> bool:
    if column.type.startswith("TIMESTAMP") or column.type == "DATE" or column.moments:
        return True
    return column.unit is not None and bool({*words.words(column.name)} & {*words.TIMES, "start", "end"})


def _rank(column: "Column", found: Mapping[str, "Column"]) -> tuple[bool, int, bool, int]:
    """Complete before incomplete, by the words, later ends last, then in the order of the columns."""
    said = words.words(column.name)
    place = min((words.TIMES.index(word) for word in said if word in words.TIMES), default=len(words.TIMES))
    full = max(other.filled for other in found.values())
    return column.filled < full, place, "end" in said, list(found).index(column.name)


def _is_action(column: "Column") -> bool:
    """`action`, `event`, `event_type`; `referrer_type` and `campaign_type` are of something else.

    One value is enough: it says what the rows are, and a sample of a log that is sorted has no other.
    """
    said, few = words.words(column.name), 0 < column.distinct <= MOST_ACTIONS and column.values != ()
    return few and said != [] and {*said} <= {*words.ACTIONS, "name"}


def _is_label(column: "Column") -> bool:
    return one_of(column.name, words.LABELS) and {*column.values} <= {"0", "1", "true", "false"} and column.values != ()


def _is_group(column: "Column") -> bool:
    said = words.words(column.name)
    text = column.type == "VARCHAR" and not (column.number or column.moments)
    return text and 3 <= column.distinct <= MOST_GROUPS and {*map(singular, said[-1:])} <= words.GROUPS and said != []
