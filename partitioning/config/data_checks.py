"""Checks of the data that a graph is built from: what is measured, and between which bounds it is expected."""

from collections.abc import Iterable, Iterator
from typing import Literal

from pydantic import Field

from artifacts.section import Problem, Section, did_you_mean
from partitioning.config.sections import GraphConfig
from partitioning.config.spark import WAY_OUT

Kind = Literal["rows", "null_rate", "duplicate_rate", "unknown_values", "without_edges", "map_overlap", "sql"]
# What each kind is measured on, in the order in which its label names them.
_SUBJECT: dict[Kind, tuple[str, ...]] = {
    "rows": ("source",),
    "null_rate": ("source", "column"),
    "duplicate_rate": ("source", "columns"),
    "unknown_values": (),
    "without_edges": ("type",),
    "map_overlap": ("type",),
    "sql": ("sql",),
}
_SUBJECTS = ("source", "column", "columns", "type", "sql")


class CheckConfig(Section):
    """One number about the data of a graph, and the bounds within which it is expected."""

    kind: Kind = Field(
        description="rows: of a source, as a multiple of the last published run's (of an append-only source, rows of a "
        "new file); null_rate: share of a source's rows without a value in column; duplicate_rate: share of its rows "
        "that repeat another in columns; unknown_values: names from relation columns that the last published graph "
        "does not have; without_edges: share of a type's entities that no training edge touches; map_overlap: share of "
        "the ids of a type that occur now and were in the last published map; sql: what a SELECT returns"
    )
    source: str | None = Field(None, description="The source that is looked at.")
    column: str | None = Field(None, description="Its column.")
    columns: tuple[str, ...] = Field((), description="Its columns that make a row what it is.")
    type: str | None = Field(None, description="Entity type.")
    sql: str | None = Field(
        None, min_length=1, description="One SELECT over the sources by name that returns one number."
    )
    min: float | None = Field(None, description="Least value that is as expected.")
    max: float | None = Field(None, description="Largest value that is as expected.")
    level: Literal["warn", "fail"] = Field(
        "fail", description="warn: the run goes on; fail: it ends with exit code 65, and nothing is published"
    )

    @property
    def label(self) -> str:
        """What is measured, in one line; checks of the same label share one measurement."""
        values = (getattr(self, key) for key in _SUBJECT[self.kind])
        told = (", ".join(value) if isinstance(value, tuple) else " ".join(value.split()) for value in values)
        return " ".join((self.kind, *told))

    @property
    def bounds(self) -> str:
        """What is expected, in words."""
        least, most = (None if bound is None else f"{bound:g}" for bound in (self.min, self.max))
        if least is not None and most is not None:
            return f"{least} to {most}"
        return f"at most {most}" if least is None else f"at least {least}"

    def holds(self, value: float) -> bool:
        """Whether a value is within the bounds; one that is no number never is."""
        return (self.min is None or value >= self.min) and (self.max is None or value <= self.max) and value == value

    def problems(self) -> Iterator[Problem]:
        wanted = _SUBJECT[self.kind]
        for key in _SUBJECTS:
            given = bool(getattr(self, key))
            if key in wanted and not given:
                yield Problem((key,), f"missing; a check of kind '{self.kind}' needs it")
            elif key not in wanted and given:
                yield Problem((key,), f"has no meaning for a check of kind '{self.kind}'; remove this")
        if self.min is None and self.max is None:
            yield Problem(("min",), "expected a bound: min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            yield Problem(("max",), f"{self.max:g} is less than min ({self.min:g})")


def check_problems(checks: Iterable[CheckConfig], graph: GraphConfig) -> Iterator[Problem]:
    """What is wrong with the checks of a graph's data; paths begin with the position of a check."""
    for index, check in enumerate(checks):
        for problem in check.problems():
            yield Problem((index, *problem.path), problem.message)
        if check.source is not None and check.source not in graph.sources:
            hint = did_you_mean(check.source, list(graph.sources))
            yield Problem((index, "source"), f"unknown source '{check.source}'{hint}")
        if check.type is not None and check.type not in graph.entities:
            hint = did_you_mean(check.type, list(graph.entities))
            yield Problem((index, "type"), f"unknown entity type '{check.type}'{hint}")
        if graph.engine == "spark" and check.kind in ("null_rate", "duplicate_rate", "sql"):
            yield Problem((index, "kind"), WAY_OUT)
        if check.kind == "unknown_values" and all(relation.name for relation in graph.relations):
            yield Problem((index, "kind"), "no relation has a relation_column, so no name comes from the data")
