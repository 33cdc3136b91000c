"""Values as a page shows them. Whatever comes from logs or data passes here: escaped, on one line and bounded."""

import re
from collections.abc import Iterable, Sequence
from datetime import timedelta
from html import escape
from typing import Any

from artifacts.printable import one_line

MOST_LETTERS = 64  # of an id or a name; the data has the whole one


def name(text: str, most: int = MOST_LETTERS) -> str:
    """A name of the data as plain text: control characters are escaped, and its end is cut where it is long."""
    shown = one_line(text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def names(texts: Iterable[str], most: int = 28) -> list[str]:
    """Names that a chart's axis can tell apart: those that look alike once they are cut are numbered."""
    found: dict[str, str] = {}
    for text in texts:
        shown, number = name(text, most), 1
        while shown in found:
            number += 1
            shown = f"{name(text, most)} ({number})"
        found[shown] = text
    return list(found)


def number(value: float | int | None) -> str:
    """A count with its thousands, a measure with four figures, a dash for what was not measured."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) >= 1 or value == 0 else f"{value:.4f}"


def interval(bounds: Sequence[float] | None) -> str:
    return "–" if bounds is None else f"{bounds[0]:.4f} to {bounds[1]:.4f}"


def size(bytes: float | None) -> str:
    """Bytes in MiB."""
    return "–" if bytes is None else f"{bytes / (1 << 20):,.0f} MiB"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds:.1f} s" if seconds < 120 else str(timedelta(seconds=round(seconds)))


def share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def html(value: Any, most: int = 400) -> str:
    """A table's cell: numbers as `number` has them, text of the data isolated, so that its direction stays its own."""
    if value is None or isinstance(value, int | float):
        return escape(number(value))
    return f"<bdi>{escape(name(str(value), most))}</bdi>"


def words(text: str) -> str:
    """A sentence of ours as HTML, in which `this` is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(one_line(text)))


def moment(text: str | None) -> str:
    """A time of UTC as a person reads it."""
    return "–" if text is None else text[:19].replace("T", " ")
