"""What was read of the events, in numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ReadTotals:
    """What was read.

    Attributes:
        rows: by source
        types: of the columns of each source, in the engine's words
        without_consent: rows that are no edges for want of consent, by declared relation that needs some
        removed: rows that are no edges since `without` left them out, by declared relation and by source
        forgotten: of the ids to forget, how many were `found` (in events or in the previous graph) and `not_found`, by
            type
        measured: what checks ask of the sources, by label; None where SQL gives no number
    """

    rows: dict[str, int]
    types: dict[str, dict[str, str]]
    without_consent: dict[str, int]
    removed: dict[str, dict[str, int]] = field(default_factory=dict)
    forgotten: dict[str, dict[str, int]] = field(default_factory=dict)
    measured: Mapping[str, float | None] = field(default_factory=dict)
