"""Exact nearest neighbours of one entity in the anchor space: plain similarity of exported vectors, no projection.

    transra neighbors CONFIG TYPE ID --k 10 --to TYPE --exact

`Embeddings.neighbors` answers many at once, and by the export's index where it has one.
"""

from artifacts.embeddings import Embeddings, Neighbor, similarities

__all__ = ["Neighbor", "neighbors", "similarities"]


def neighbors(embeddings: Embeddings, entity_type: str, id: str, k: int, to_type: str) -> list[Neighbor]:
    """Returns the `k` entities of `to_type` most similar to the entity, nearest first, itself left out.

    Raises ConfigError for an unknown type, DataError for an unknown id and for a vector that is not
    finite.
    """
    (found,) = embeddings.neighbors(entity_type, [id], k=k, to=to_type, exact=True)
    return found
