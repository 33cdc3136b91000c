"""What a build has come to: refused where a relation is empty that must not be, else reported."""

from typing import Any

import numpy as np

from artifacts.errors import DataError
from artifacts.formats.graph import SPLITS
from partitioning.buckets.counts import GraphCounts
from partitioning.buckets.statistics import balanced
from partitioning.config.sections import GraphConfig
from partitioning.edges.stream import SpillReport
from partitioning.engines.scan import Scan
from partitioning.events.relations import NamedRelation
from partitioning.events.weights import LEAST_UNITS, MOST, UNIT
from partitioning.ledger.continuation import Continuation
from partitioning.report import GraphReport
from partitioning.thinning.thin import Thinned


def check_empty(config: GraphConfig, relations: list[NamedRelation], scan: Scan, counts: GraphCounts) -> None:
    """Raises DataError that names every declared relation without an edge that must have some."""
    events = scan.spilled.events
    lines = []
    for index, relation in enumerate(config.relations):
        mine = [i for i, named in enumerate(relations) if named.declared == index]
        if not relation.allow_empty and not counts.edges[mine].sum():
            where = f" where {relation.where}" if relation.where else ""
            left = " left after min_degree" if events[mine].sum() else ""
            dropped = scan.totals.without_consent.get(relation.label, 0)
            why = (
                f"; {dropped:,} rows are of people who did not agree, so look at their answers first" if dropped else ""
            )
            lines.append(
                f"graph.relations[{index}]: relation '{relation.label}' has no edges{left} "
                f"(source {', '.join(relation.sources)}{where}){why}; set allow_empty if that is expected"
            )
    if lines:
        raise DataError(*lines)


def check_weights(config: GraphConfig, relations: list[NamedRelation], spilled: SpillReport) -> None:
    """Raises DataError that names every declared relation whose events all have the least weight that is counted, or
    less: nothing tells them apart. Those of a `half_life_days` may have become as light with age."""
    lines, inverses = [], {relation.inverse for relation in config.relations}
    for index, relation in enumerate(config.relations):
        mine = [i for i, named in enumerate(relations) if named.declared == index]
        heaviest = int(spilled.heaviest[mine].max(initial=0))
        weighted = relation.weight is not None and relation.half_life_days is None
        if weighted and heaviest == LEAST_UNITS and relation.label not in inverses:
            lines.append(
                f"graph.relations[{index}].weight: no weight of '{relation.label}' is above {1.5 / UNIT:.0e}, below "
                f"which all count alike; write larger ones, such as ({relation.weight}) * {UNIT}"
            )
    if lines:
        raise DataError(*lines)


def too_heavy(relation: NamedRelation) -> DataError:
    """The error for a relation of which a sum of weights cannot be kept."""
    return DataError(
        f"graph.relations[{relation.declared}].weight: the weights of '{relation.name}' between the same two entities "
        f"sum to more than {MOST:,}; write a smaller one, such as ({relation.config.weight}) / 1000"
    )


def graph_report(
    continuation: Continuation, scan: Scan, thinned: Thinned, counts: GraphCounts, statistics: dict[str, Any]
) -> GraphReport:
    """The counts of a finished graph."""
    by_split = np.sum(counts.edges, axis=0).tolist()
    entities = thinned.entities
    by_type = {name: sum(map.counts) for name, map in entities.items()}
    return GraphReport(
        edges=sum(by_split),
        entities=sum(by_type.values()),
        relations=len(scan.relations),
        edges_by_split=dict(zip(SPLITS, by_split, strict=True)),
        entities_by_type=by_type,
        rows_read=scan.totals.rows,
        files_read={name: len(continuation.files[name]) or 1 for name in scan.totals.rows},
        files_settled=continuation.files_settled,
        recounted=continuation.recounted,
        without_consent=scan.totals.without_consent,
        removed=scan.totals.removed,
        forgotten=scan.totals.forgotten,
        edges_left_out=statistics["edges_left_out"],
        known={name: sum(map.previous) for name, map in entities.items()},
        cold={name: statistics["entities"][name]["cold"] for name in entities},
        absent={name: statistics["entities"][name]["absent"] for name in entities},
        measured=dict(scan.totals.measured),
        unbalanced=[name for name, map in entities.items() if not balanced(map.counts)],
    )
