"""What partitioning did, in numbers."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class GraphReport:
    """Counts of a finished graph.

    Attributes:
        rows_read: rows of each source that was read
        files_read: files of each source that was read; a table in memory is one
        files_settled: files that were not read again, since the ledger of the previous graph has them
        recounted: why all files were read although the previous graph has a ledger
        without_consent: rows left out, by declared relation
        removed: rows left out by `without`, of those that were read, by declared relation and source
        forgotten: of the ids to forget, how many were `found` (in events or in the previous graph) and `not_found`, by
            type
        edges_left_out: by reason: seen_before (held out, but an earlier split has it), max_degree, min_degree
        cold: entities that are held out and never trained on, by type
        known: ids of the previous graph, which kept partition and offset, by type
        absent: entities of the previous graph that have no edge in this one, by type
        measured: what checks ask of the sources, by label; None where SQL gives no number
        labelled: ids with a label, `found`, and those of them with `several`, by type that has a `label`
        unbalanced: types whose partitions differ more than a uniform hash explains
    """

    edges: int
    entities: int
    relations: int
    edges_by_split: dict[str, int]
    entities_by_type: dict[str, int]
    rows_read: dict[str, int]
    files_read: dict[str, int]
    files_settled: int
    recounted: list[str]
    without_consent: dict[str, int]
    removed: dict[str, dict[str, int]]
    forgotten: dict[str, dict[str, int]]
    edges_left_out: dict[str, int]
    known: dict[str, int]
    cold: dict[str, int]
    absent: dict[str, int]
    measured: dict[str, float | None]
    unbalanced: list[str]
    labelled: dict[str, dict[str, int]] = field(default_factory=dict)
