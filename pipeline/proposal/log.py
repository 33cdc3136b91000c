"""A source with its profile's answers: what the rules of a proposal ask of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from pipeline.proposal.columns import Columns
from pipeline.proposal.sources import Found
from pipeline.proposal.words import words

if TYPE_CHECKING:
    from partitioning import Profile

NO_PEOPLE = "its rows need consent, and it joins no people who could give it"
REPEATS = 10  # rows in which an id must occur again before it is believed that it determines another


@dataclass(frozen=True)
class Log:
    """A source, what its columns are, and an open profile of it."""

    found: Found
    columns: Columns
    profile: "Profile"

    @property
    def name(self) -> str:
        return self.found.name

    @property
    def said(self) -> str:
        """What its files are called: the name that words are looked for in."""
        return self.found.said

    @property
    def words(self) -> list[str]:
        """The words of its name."""
        return words(self.said)

    def determines(self, column: str, other: str) -> bool:
        """Whether each value of a column goes with one of another, as far as repeated ones tell."""
        return self.profile.determined(other, by=column) >= REPEATS

    def is_key(self, column: str) -> bool:
        """Whether no two rows of the sample have the same value."""
        return self.profile.columns[column].distinct == self.profile.rows > 1

    @cached_property
    def snapshot_of(self) -> str | None:
        """Of a table that each date has whole (`items/dt=2026-01-01/`), the column of ids that names the rows of one
        date. None of other tables, and of a log: that has people, actions, or times of its own."""
        columns, keys = self.columns, {key for found in self.found.files.values() for key in found}
        if columns.person or columns.action or not keys or columns.time not in (None, *keys):
            return None
        return next((one for one in columns.ids if self.profile.names_rows([one, *sorted(keys)])), None)

    def is_text(self, column: str) -> bool:
        return self.profile.columns[column].type == "VARCHAR"


@dataclass(frozen=True)
class Side:
    type: str
    column: str


@dataclass(frozen=True)
class Relation:
    """A proposed relation. `action` is the value that its rows have, where a log has actions; `left_out` says why it
    only stands in a comment, `remark` what is to be known of it."""

    name: str
    sources: tuple[str, ...]
    lhs: Side
    rhs: Side
    conditions: tuple[str, ...] = ()
    domain: str = "onsite"
    weight: str | None = None
    anchor: bool = False
    rows: int = 0
    action: str | None = None
    remark: str | None = None
    left_out: str | None = None

    @property
    def where(self) -> str | None:
        return " AND ".join(self.conditions) or None


@dataclass
class Notes:
    """What could not be decided: lines for the terminal and for the top of the config."""

    lines: list[str] = field(default_factory=list)

    def add(self, log: Log | None, text: str) -> None:
        line = f"{log.name}: {text}" if log else text
        if line not in self.lines:
            self.lines.append(line)


def listed(names: Sequence[str], most: int = 6) -> str:
    """Names with commas, the first few of many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
