"""What exported vectors say of a row: cosines and inner products of single ids, and of listed ids with the ad's."""

import numpy as np
from numpy.typing import NDArray

from ranker.data.ids.slots import Layout
from ranker.features.joined import Columns, JoinedRows, named, where

Floats = NDArray[np.float32]
LATEST = 3  # how many of the latest listed ids are looked at apart, beside the last one and all


def vector_columns(layout: Layout, joined: JoinedRows) -> Columns:
    """Of every slot of the user's side with every slot of the ad's, both of the graph."""
    ads = {slot: joined.vectors(slot)[:, 0] for slot in layout.graph(side="ad")}
    found: Columns = {}
    for slot in layout.graph(side="user"):
        vectors = joined.vectors(slot)
        for ad, ad_vectors in ads.items():
            products = np.einsum("nwd,nd->nw", vectors, ad_vectors)
            known = joined.known(slot) & joined.known(ad)
            cosines = _cosines(products, vectors, ad_vectors)
            if slot.is_list:
                found |= _of_list(f"cos_{slot.name}_{ad.name}", cosines, known)
            else:
                found[named("cos", slot.name, ad.name)] = where(known[:, 0], cosines[:, 0])
                found[named("dot", slot.name, ad.name)] = where(known[:, 0], products[:, 0])
    return found


def degree_columns(layout: Layout, joined: JoinedRows) -> Columns:
    """Training edges of single ids, by relation and side: none of an id that the graph does not know are known."""
    found: Columns = {}
    for slot in layout.graph(lists=False):
        degrees = joined.export.degrees(str(slot.type))
        if degrees is not None:
            rows, known = joined.rows[slot.name][:, 0], joined.known(slot)[:, 0]
            values = degrees[np.maximum(rows, 0)]
            for index, name in enumerate(joined.export.degree_names(str(slot.type))):
                found[named("degree", slot.name, name)] = where(known, values[:, index])
    return found


def _cosines(products: Floats, listed: Floats, ads: Floats) -> Floats:
    """From inner products (N, W) of vectors (N, W, D) and (N, D); 0 for a vector of zeros."""
    norms = np.linalg.norm(listed, axis=2) * np.linalg.norm(ads, axis=1)[:, None]
    found: Floats = products / np.maximum(norms, 1e-12)
    return found


def _of_list(name: str, cosines: Floats, known: NDArray[np.bool_]) -> Columns:
    """The last id's, the largest, and means of the latest and of all ids that are known."""
    found = {named(name, "last"): where(known[:, 0], cosines[:, 0])}
    largest = np.where(known, cosines, -np.inf).max(axis=1)
    found[named(name, "max")] = where(known.any(axis=1), largest)
    for suffix, width in ((f"mean_{LATEST}", LATEST), ("mean", cosines.shape[1])):
        count = known[:, :width].sum(axis=1)
        total = np.where(known, cosines, 0)[:, :width].sum(axis=1, dtype=np.float64)
        found[named(name, suffix)] = where(count > 0, total / np.maximum(count, 1))
    return found


def chunk_rows(layout: Layout, dimension: int, most_bytes: int) -> int:
    """How many rows' vectors, all slots of the graph together, take so many bytes."""
    places = sum(slot.width for slot in layout.graph())
    return max(most_bytes // max(places * dimension * np.dtype(np.float32).itemsize, 1), 1)
