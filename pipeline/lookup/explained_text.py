"""An explanation as text for a terminal of 80 columns."""

from collections.abc import Iterator
from typing import Any

from artifacts.printable import columns_of, fitted, one_line

WIDTH = 80
MOST_WEIGHTS = 5  # of each attention


def explanation(found: dict[str, Any]) -> str:
    """The text of what `explained` returns, and of `ranker` where that was asked."""
    sections = (_head, _scores, _edges, _ranker)
    return "\n".join(one_line(line) for section in sections for line in section(found))


def with_label(line: str, one: dict[str, Any]) -> str:
    """A line that ends with an id, and what fits of its label: ids are never cut."""
    label = one_line(f"  {one['label']}") if "label" in one else ""
    return line + fitted(label, WIDTH - sum(map(columns_of, line)))


def _head(found: dict[str, Any]) -> Iterator[str]:
    user, ad = found["user"], found["ad"]
    yield f"{user['type']} {user['id']} and {ad['type']} {ad['id']}, by run {found['run']}"
    yield from (with_label(one_line(one["id"]), one) for one in (user, ad) if "label" in one)


def _scores(found: dict[str, Any]) -> Iterator[str]:
    kind = found["ad"]["type"]
    yield ""
    yield f"{'':<24}{'value':>12}   rank, of all {kind}"
    yield _scored("near in the anchor space", found["similarity"])
    for one in found["scores"]:
        yield _scored(f"score by {one['name']}", one)
    for name in found["not_scored"]:
        yield f"score by {name:<15}   not computed: an operator of PyTorch-BigGraph's"


def _scored(name: str, one: dict[str, Any]) -> str:
    return f"{name:<24}{one['value']:>12.4f}   {one['rank']:,.10g} of {one['among']:,}"


def _edges(found: dict[str, Any]) -> Iterator[str]:
    user, ad, near = found["user"]["id"], found["ad"]["id"], found["supporting"]
    yield ""
    if not near:
        yield f"{user} has no training edge."
        return
    yield f"what {user} has training edges with, nearest to {ad} first ({_of_how_many(found)})"
    yield f"{'similarity':>10}  {'relation':<16}  {'type':<12}  id"
    for one in near:
        line = f"{one['similarity']:>10.4f}  {one['relation']:<16}  {one['type']:<12}  {one_line(one['id'])}"
        yield with_label(line, one)


def _of_how_many(found: dict[str, Any]) -> str:
    """Where the search ended early, the number of edges is not known."""
    least = "" if found["edges_counted"] else "at least "
    return f"{len(found['supporting'])} of {least}{found['edges']:,}"


def _ranker(found: dict[str, Any]) -> Iterator[str]:
    if (ranker := found.get("ranker")) is None:
        return
    yield ""
    if "missing" in ranker:
        yield f"ranker: {ranker['missing']}"
        return
    yield f"ranker {ranker['arm']}: {ranker['row']}"
    for task, one in ranker["predictions"].items():
        yield f"  {task:<12} {one['graph']:.5f}   {one['no_graph']:.5f} if the graph knew none of the ids"
    for name, weights in ranker["attention"].items():
        shown = [f"{one_line(one['name'])} {one['weight']:.2f}" for one in weights[:MOST_WEIGHTS]]
        lines = [f"  attends in {name}: {', '.join(shown[:count])}" for count in range(len(shown), 0, -1)]
        yield next((line for line in lines if fitted(line, WIDTH) == line), lines[-1])
