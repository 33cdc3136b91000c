"""`transra explain`: why an ad is near a user, or not."""

from dataclasses import asdict
from typing import Any

from artifacts.errors import ConfigError, DataError
from artifacts.files.intact import require_intact
from artifacts.formats.graph import Relation
from artifacts.section import did_you_mean
from pipeline.lookup.edges import edges_of
from pipeline.lookup.pairs import Pair, between, relation_scores, similarity_of, supporting
from pipeline.lookup.published import Published
from pipeline.workspace.context import Context

NO_SCORER = "no scorer is published with these vectors"


def explained(published: Published, user: str, ad: str, by: str | None, k: int) -> dict[str, Any]:
    """What the graph's vectors say of a pair: similarity, scores by relation, the `k` nearest supporting edges.

    `edges` is their number where `edges_counted` says so; else the user has more, which were not looked at.
    `by` names the relation whose types the two are of, by default the first anchor. Raises ConfigError for an unknown
    relation, DataError for an unknown id.
    """
    relation, export = asked_relation(published, by), published.embeddings
    pair = _pair(published, relation, user, ad)
    edges, counted = edges_of(published, pair.head_type, pair.head)
    left_out = [one.name for one in between(published.embeddings.relations, pair)]
    scores = [asdict(one) for one in relation_scores(published, pair)]
    return {
        "run": published.run.id,
        "relation": relation.name,
        "user": {"type": relation.lhs, **export.named(relation.lhs, user)},
        "ad": {"type": relation.rhs, **export.named(relation.rhs, ad)},
        "similarity": asdict(similarity_of(published, pair)),
        "scores": scores,
        "not_scored": [name for name in left_out if name not in {one["name"] for one in scores}],
        "edges": len(edges),
        "edges_counted": counted,
        "supporting": [asdict(one) | export.named(one.type, one.id) for one in supporting(published, pair, edges, k)],
    }


def _pair(published: Published, relation: Relation, user: str, ad: str) -> Pair:
    """Raises DataError for an unknown id, with the relation whose types the two are of, if there is one."""
    try:
        return Pair(relation.lhs, published.row(relation.lhs, user), relation.rhs, published.row(relation.rhs, ad))
    except DataError as error:
        anchors = published.embeddings.attributes["anchors"]
        others = sorted(published.graph.relations, key=lambda one: one.name not in anchors)
        fitting = (one for one in others if published.knows(one.lhs, user) and published.knows(one.rhs, ad))
        if (other := next(fitting, None)) is None:
            raise
        asked = f"; '{relation.name}' was asked about, and --relation {other.name} is of these two"
        raise DataError(f"{error}{asked}") from error


def asked_relation(published: Published, by: str | None) -> Relation:
    """The relation that says which types a user and an ad are of. Raises ConfigError for one that the graph lacks."""
    relations = {relation.name: relation for relation in published.graph.relations}
    anchors = published.embeddings.attributes["anchors"]
    name = by or next(iter(anchors), next(iter(relations)))
    if name not in relations:
        raise ConfigError(f"--relation {name}: not a relation of the graph{did_you_mean(name, list(relations))}")
    return relations[name]


def seen_by_ranker(context: Context, published: Published, user: str, ad: str, by: str | None) -> dict[str, Any]:
    """What the published scorer makes of the pair, or `missing`: why it makes nothing of it. Searches its log once."""
    relation = asked_relation(published, by)
    config, record = context.config.ranker, published.run.record("fit")
    if config is None or not record:
        return {"missing": NO_SCORER}
    from ranker import explain_pair, export_of, impression_files

    directory = published.run.directory("fit")
    require_intact(directory, record["outputs"], ("",), f"remove {directory} and run `{context.command('fit')}`")
    files = impression_files(config, context.root, context.stores)
    if context.stores.unfetched(list(files)) is not None:
        return {"missing": "its impressions lie in a store, which is not searched"}
    try:
        pair, export = ((relation.lhs, relation.rhs), (user, ad)), export_of(published.run.path)
        found = explain_pair(config, directory, files, *pair, export, published.key)
    except ConfigError as error:
        return {"missing": error.lines[0]}
    return found or {"missing": "the ranker's log has no impression of either"}
