"""`transra neighbors`: what lies near entities, or a vector, in the anchor space of the published run."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from artifacts.embeddings import Embeddings, Neighbor
from artifacts.printable import one_line
from artifacts.pseudonyms import pseudonym
from partitioning import id_key
from pipeline.lookup.explained_text import with_label
from pipeline.running.status import published_vectors
from pipeline.workspace.context import Context


class Question(NamedTuple):
    """Who asks: entities of a type, or else a vector, (D,); for `k` neighbours of each of the types `to`."""

    type: str
    ids: Sequence[str]
    vector: Sequence[float] | None
    to: Sequence[str]
    k: int
    exact: bool


def neighbors_of(context: Context, question: Question) -> dict[str, Any]:
    """Prints and returns the neighbours, by who asks and by type. Raises as `Embeddings.neighbors` does."""
    embeddings, key = published_vectors(context), id_key(context.config.graph)
    _head(context, question, embeddings.attributes["similarity"])
    asked = [pseudonym(id, key) if key else id for id in question.ids]
    found = {to: _found(embeddings, question, asked, to) for to in question.to}
    answers = []
    for index, id in enumerate(question.ids or [None]):
        near = [
            {"type": to, **embeddings.named(to, one.id), "similarity": one.similarity}
            for to in found
            for one in found[to][index]
        ]
        answers.append({"type": question.type, "id": id, "neighbors": near})
        _say(context, question, id, near)
    return {"neighbors": answers[0]["neighbors"], "answers": answers}


def _found(embeddings: Embeddings, question: Question, ids: Sequence[str], to: str) -> list[list[Neighbor]]:
    vectors = None if question.vector is None else np.array([question.vector], np.float32)
    return embeddings.neighbors(question.type, ids, vectors=vectors, k=question.k, to=to, exact=question.exact)


def _head(context: Context, question: Question, similarity: str) -> None:
    """What the columns are, on a terminal."""
    asked = " ".join(question.ids) if question.ids else "the vector"
    context.console.heading(one_line(f"nearest to {question.type} {asked}, by {similarity}"))
    kind = f"  {'type':<12}" if len(question.to) > 1 else ""
    indent = "  " if len(question.ids) > 1 else ""
    context.console.heading(f"{indent}similarity{kind}  {'id' if len(question.to) > 1 else question.to[0]}")


def _say(context: Context, question: Question, id: str | None, near: Sequence[dict[str, Any]]) -> None:
    """A line for each neighbour, under who asks where several do, with its type where there are several."""
    indent = ""
    if len(question.ids) > 1 and id is not None:
        context.console.say(one_line(id))
        indent = "  "
    for one in near:
        kind = f"  {one['type']:<12}" if len(question.to) > 1 else ""
        line = f"{indent}{one['similarity']:10.4f}{kind}  {one_line(one['id'])}"
        context.console.say(with_label(line, one))
