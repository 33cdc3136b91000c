"""What each column of a source is: ids of a type, the time, the action, a label, a group, or nothing of use."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.proposal import words
from pipeline.proposal.words import one_of, singular, stem_of, type_name

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
    def person(self) -> str | None:
        """The first column of people."""
        return next((column for column, type in self.ids.items() if is_person(type)), None)


def is_person(type: str) -> bool:
    return type.split("_")[-1] in words.PEOPLE


def columns_of(source: str, found: Mapping[str, "Column"], stems: Collection[str]) -> Columns:
    """The roles of a source's columns. `stems`: what columns of ids of any source are of."""
    times = [name for name, column in found.items() if _is_time(column)]
    time = min(times, key=lambda name: _rank(found[name], found), default=None)
    ids = {name: type for name, column in found.items() if name not in times and (type := _type(source, column, stems))}
    action = next((name for name, column in found.items() if name not in ids and _is_action(column)), None)
    labels = [name for name, column in found.items() if _is_label(column)]
    groups = {
        name: type_name(name)
        for name, column in found.items()
        if name not in {*ids, action, *labels} and _is_group(column) and type_name(name)
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
    if stem is None or not _can_be_id(column):
        return None
    first, _, rest = stem.partition("_")
    if first in words.OTHER_OF_A_TYPE and rest in stems:
        stem = rest
    return type_name(stem) or type_name(singular(source.rpartition("_")[2]))


def _can_be_id(column: "Column") -> bool:
    return column.filled > 0 and (column.whole or column.type in ("VARCHAR", "UUID") or column.type.startswith("ENUM"))


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
