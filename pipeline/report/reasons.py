"""Why an example lies where it does: what `transra explain` says of it and its nearest, without the ranker."""

from collections.abc import Mapping

from artifacts.embeddings import Embeddings
from pipeline.lookup.explain import asked_relation, explained
from pipeline.lookup.explained_text import explanation
from pipeline.lookup.published import Published
from pipeline.report.facts import Facts

MOST_EXPLAINED = 8
MOST_READ = 10**8  # edges that are looked through for all of them: about a second
EDGES = 5  # supporting ones of each

ByType = Mapping[tuple[str, str], Mapping[str, str]]  # of an entity, a type and an id


def reasons(facts: Facts, export: Embeddings, nearest: ByType) -> ByType:
    """Texts by type of the `nearest`, which has ids: of as many heads of the first anchor as MOST_READ allows."""
    published = Published(facts.run, export, None)  # ids are those of the export by now
    graph, anchor = published.graph, asked_relation(published, None)
    of_partition = graph.edges("train") // graph.entity_type(anchor.lhs).partitions
    most = min(MOST_EXPLAINED, MOST_READ // max(1, of_partition))
    asked = [one for one in nearest if one[0] == anchor.lhs and anchor.rhs in nearest[one]][:most]
    return {
        one: {anchor.rhs: explanation(explained(published, one[1], nearest[one][anchor.rhs], anchor.name, EDGES))}
        for one in asked
    }
