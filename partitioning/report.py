"""What partitioning did, in numbers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class GraphReport:
    """Counts of a finished graph. `without_consent` counts rows left out, by declared relation."""

    edges: int
    entities: int
    relations: int
    edges_by_split: dict[str, int]
    entities_by_type: dict[str, int]
    rows_read: dict[str, int]
    without_consent: dict[str, int]
