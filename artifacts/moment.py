"""A moment as a config writes it: an ISO date or datetime, or epoch seconds; of 1970 to 2200, as those of data."""

import re
from datetime import datetime, timezone
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

YEAR_1990 = 631_152_000  # epoch seconds
YEAR_2200 = 7_258_118_400
_DATE = re.compile(r"[0-9W-]{7,10}([T ]|$)")  # to Python, 2026-02-07123 is 23 o'clock: any character may lead to a time


def epoch_seconds(moment: str | int) -> int:
    """Epoch seconds of an ISO date or datetime (UTC unless it says otherwise). Raises ValueError."""
    if isinstance(moment, int):
        return moment
    try:
        if not _DATE.match(moment):
            raise ValueError("no date")
        parsed = datetime.fromisoformat(moment.replace("Z", "+00:00"))  # Python 3.10 does not know Z
    except ValueError as error:
        raise ValueError(f"'{moment}' is not a time; write an ISO date, an ISO datetime or epoch seconds") from error
    return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=timezone.utc)).timestamp())


def iso(seconds: int) -> str:
    """The UTC datetime of epoch seconds."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _moment(moment: str | int) -> str | int:
    if not 0 <= epoch_seconds(moment) < YEAR_2200:
        raise ValueError(
            f"'{moment}' does not lie in 1970 to 2200; write an ISO date, or epoch seconds (no milliseconds)"
        )
    return moment


def _no_boolean(moment: object) -> object:
    if isinstance(moment, bool):
        raise ValueError("is no time; write an ISO date, an ISO datetime or epoch seconds")
    return moment


Moment = Annotated[str | int, AfterValidator(_moment), BeforeValidator(_no_boolean)]
