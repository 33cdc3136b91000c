"""What the API answers, as JSON values: facts of the run, neighbours, edges, explanations."""

from typing import Any

import numpy as np

from artifacts.errors import ConfigError
from artifacts.section import did_you_mean
from pipeline.lookup.edges import edges_of
from pipeline.lookup.explain import seen_by_ranker
from pipeline.lookup.published import Published
from pipeline.workspace.context import Context

EXAMPLES, LOOKED_AT = 8, 1 << 16  # ids of each type that the page offers, and rows among which they are looked for


def run_facts(context: Context, published: Published) -> dict[str, Any]:
    """The run, its types, the entities of each that have a vector, some of their ids, and its relations."""
    export = published.embeddings
    types = {
        name: {
            "count": int(np.count_nonzero(trained)),
            "examples": [export.id(name, int(row)) for row in np.flatnonzero(trained[:LOOKED_AT])[:EXAMPLES]],
        }
        for name, trained in ((name, export.trained(name)) for name in export.types)
    }
    relations = [{"name": one.name, "lhs": one.lhs, "rhs": one.rhs} for one in export.relations]
    anchors = export.attributes["anchors"]
    return {
        "config": context.workspace.path.name,
        "run": published.run.id,
        "types": types,
        "relations": sorted(relations, key=lambda one: one["name"] not in anchors),
        "similarity": export.attributes["similarity"],
        "dimension": export.dimension,
    }


def neighbors(published: Published, type: str, id: str, to: str, k: int) -> dict[str, Any]:
    """The `k` nearest of a type. Raises ConfigError for an unknown type, DataError for an unknown id."""
    export, row = published.embeddings, published.row(type, id)
    if to not in export.types:
        raise ConfigError(f"unknown entity type '{to}'{did_you_mean(to, list(export.types))}")
    (near,) = export.neighbors(type, [export.id(type, row)], k=k, to=to)
    named = [{**export.named(to, one.id), "similarity": one.similarity} for one in near]
    asked = {"type": type, **export.named(type, export.id(type, row))}
    return {"run": published.run.id, "asked": asked, "type": to, "neighbors": named}


def edges(published: Published, type: str, id: str, k: int) -> dict[str, Any]:
    """Training edges of an entity, `k` at most, and how many distinct ones it has, or at least if not `counted`."""
    export = published.embeddings
    found, counted = edges_of(published, type, published.row(type, id))
    shown = [
        {
            "relation": one.relation,
            "side": one.side.value,
            "type": one.type,
            **export.named(one.type, export.id(one.type, one.row)),
        }
        for one in found[:k]
    ]
    return {"run": published.run.id, "edges": shown, "count": len(found), "counted": counted}


def ranker(context: Context, published: Published, user: str, ad: str, by: str | None) -> dict[str, Any]:
    """What the published scorer makes of the pair."""
    return {"run": published.run.id, **seen_by_ranker(context, published, user, ad, by)}
