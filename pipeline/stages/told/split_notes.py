"""What a person should hear of a graph's split: parts that are empty, or that have lost most of their events; and what
none may do."""

from collections.abc import Iterator, Sequence

from artifacts.errors import DataError
from artifacts.formats.graph import Graph
from partitioning import GraphConfig, GraphReport


def split_notes(config: GraphConfig, report: GraphReport) -> Iterator[str]:
    """Yields a line for each split that is wanted and has no edge, and one where most held-out edges were left out."""
    for split in wanted_splits(config):
        if not report.edges_by_split[split]:
            yield f"the {split} split is empty{_why(config, report)}"
    held, seen = sum(report.edges_by_split[split] for split in ("valid", "test")), report.edges_left_out["seen_before"]
    if held and seen > held:
        yield f"most held-out edges were left out, since an earlier split has them ({seen:,} of {seen + held:,})"


def require_trained(config: GraphConfig, graph: Graph, anchors: Sequence[str]) -> None:
    """Raises DataError where a split by time leaves nothing to train an anchor on: its vectors would be random."""
    time, lines = config.split.time, []
    for relation in graph.relations:
        train, valid, test = (relation.edges[split] for split in ("train", "valid", "test"))
        if time and relation.name in anchors and not train and valid + test:
            lines.append(
                f"graph.split.time: anchor '{relation.name}' has no training edge, as none of its {valid + test:,} "
                f"edges lies before valid_from {time.valid_from} ({valid:,} lie before test_from {time.test_from}, "
                f"{test:,} from then on); choose later times, or leave it out of model.anchors"
            )
    if lines:
        raise DataError(*lines)


def wanted_splits(config: GraphConfig) -> list[str]:
    """The splits that a config means to fill."""
    time, random = config.split.time, config.split.random
    by_source = {source.split for source in config.sources.values()}
    fractions = {"train": 1.0, "valid": random.valid if random else 0.0, "test": random.test if random else 0.0}
    return [split for split, fraction in fractions.items() if fraction or time or split in by_source]


def _why(config: GraphConfig, report: GraphReport) -> str:
    reasons = []
    if config.split.time:
        reasons.append("no event lies in its window")
    if seen := report.edges_left_out["seen_before"]:
        reasons.append(f"{seen:,} held-out edges were left out, since an earlier split has them")
    if other := sum(count for why, count in report.edges_left_out.items() if why != "seen_before"):
        reasons.append(f"{other:,} edges were left out by min_degree or max_degree")
    return f" ({' or '.join(reasons)})" if reasons else ""
