"""The part of the `ranker` section that describes the log of impressions: its columns, labels and split."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from artifacts.formats.graph import TYPE_NAME_PATTERN
from artifacts.moment import Moment, epoch_seconds
from artifacts.section import Problem, Section

TypeName = Annotated[str, Field(pattern=TYPE_NAME_PATTERN)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Transform = Literal["linear", "log", "quantile"]
DAY = 86_400
OF_ALL, OF_CLICKS, OF_CONVERSIONS = "impressions", ("clicks", "ctr_lift"), ("conversions", "cvr_lift")  # of `counts`


def count_feature(columns: tuple[str, ...], measure: str) -> str:
    """The numeric that `counts` make of columns, by its name."""
    return "_".join(("_x_".join(columns), measure))


class SlotConfig(Section):
    """A column of ids, or of lists of ids."""

    type: TypeName | None = Field(None, description="Entity type of the graph; null: the graph does not know these.")
    side: Literal["user", "ad"] = Field(description="Whom it describes: ads attend to and are matched with the user.")
    cap: int | None = Field(
        None,
        gt=0,
        le=1 << 16,
        description="A list column, latest first: so many ids are read, and what is older is cut off.",
    )
    times: str | None = Field(
        None, description="A list column of the same lengths: when each event happened, in the unit of `time_column`."
    )
    of: str | None = Field(
        None,
        description="Another slot, of whose ids this is an attribute by `via`: the log has no such column.",
    )
    via: str | None = Field(
        None, description="With `of`: the relation of the graph between the other slot's type and this one's."
    )


class LabelsConfig(Section):
    """What is predicted: clicks among impressions, conversions among clicks (among impressions without `click`)."""

    click: str | None = Field(None, description="Column of 0 and 1.")
    conversion: str | None = Field(None, description="Column of 0 and 1; null: not known.")
    conversion_time: str | None = Field(None, description="When it converted, in the unit of `time_column`.")
    attribution_days: float | None = Field(
        None, gt=0, le=1e6, description="A conversion later than this after the impression does not count."
    )
    observed_until: Moment | None = Field(
        None,
        description="When the log was written: conversions of impressions whose attribution window was still open are "
        "unknown, not 0. null: after every window had closed.",
    )

    def problems(self) -> Iterator[Problem]:
        if self.click is None and self.conversion is None:
            yield Problem(("click",), "nothing to predict; expected `click`, `conversion` or both")
        for name in ("conversion_time", "attribution_days", "observed_until"):
            if getattr(self, name) is not None and self.conversion is None:
                yield Problem((name,), "has no meaning without `conversion`")
        for name in ("conversion_time", "observed_until"):
            if getattr(self, name) is not None and self.attribution_days is None:
                yield Problem((name,), "needs `attribution_days`")

    @property
    def tasks(self) -> tuple[str, ...]:
        """`ctr`, `cvr` or both."""
        return ("ctr",) * (self.click is not None) + ("cvr",) * (self.conversion is not None)

    @property
    def columns(self) -> tuple[str, ...]:
        """What must not be known when an ad is shown."""
        return tuple(name for name in (self.click, self.conversion, self.conversion_time) if name is not None)

    @property
    def counted(self) -> tuple[str, ...]:
        """What `counts` say of a value: a rate is over the global one of the same days."""
        clicks = OF_CLICKS if self.click is not None else ()
        return (OF_ALL, *clicks, *(OF_CONVERSIONS if self.conversion is not None else ()))


class SplitConfig(Section):
    """Train, then valid, then test, by time: two moments, or two fractions of the time that the log spans."""

    valid_from: Moment | None = Field(None, description="Start of validation: ISO date or datetime, or epoch seconds.")
    test_from: Moment | None = Field(None, description="Start of test.")
    valid: Fraction | None = Field(None, description="Fraction of the time, before test, that is validation (0.1).")
    test: Fraction | None = Field(None, description="Fraction of the time, at its end, that is test (0.2).")

    def problems(self) -> Iterator[Problem]:
        moments, fractions = (self.valid_from, self.test_from), (self.valid, self.test)
        if any(m is not None for m in moments) and any(f is not None for f in fractions):
            yield Problem(("valid_from",), "expected moments or fractions, not both")
        elif sum(m is not None for m in moments) == 1:
            yield Problem(("valid_from",), "expected both `valid_from` and `test_from`")
        elif self.valid_from is not None and self.test_from is not None:
            if epoch_seconds(self.valid_from) >= epoch_seconds(self.test_from):
                yield Problem(("test_from",), f"{self.test_from}: expected a time after valid_from")
        elif (self.valid or 0.1) + (self.test or 0.2) >= 1:
            yield Problem(("valid",), "valid and test leave nothing to train on")

    def starts(self, first: int, last: int) -> tuple[int, int]:
        """First seconds of validation and of test, for a log from `first` to `last` (epoch seconds)."""
        if self.valid_from is not None and self.test_from is not None:
            return epoch_seconds(self.valid_from), epoch_seconds(self.test_from)
        span, test = last + 1 - first, self.test or 0.2
        return int(first + span * (1 - test - (self.valid or 0.1))), int(first + span * (1 - test))


class SegmentConfig(Section):
    """Rows that are also judged apart: those whose id the export lacks, or whose number (or list length) is small."""

    unknown: str | None = Field(None, description="An id slot: rows whose id the first export does not know.")
    column: str | None = Field(None, description="A numeric column, or a list slot for its length.")
    at_most: float | None = Field(None, description="The largest value of `column` that belongs to the segment.")

    def problems(self) -> Iterator[Problem]:
        if (self.unknown is None) == (self.column is None):
            yield Problem((), "expected either `unknown` or `column`")
        if (self.column is None) != (self.at_most is None):
            yield Problem(("at_most",), "expected together with `column`")
