"""New edges among counted ones: the same as sorting all of them, whatever is looked up and wherever chunks end."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.formats.bucket_file import EdgeColumns
from partitioning.edges.key import KeyLayout, scramble_, unscramble_
from partitioning.ledger import insertion as insertion_module
from partitioning.ledger.insertion import CountedEdges, insert_edges

LAYOUT, SEED = KeyLayout.of(3, 40, 50), 7


def scrambled(count: int, seed: int) -> np.ndarray:
    """Sorted, scrambled keys (N,) of random edges, some of them repeated."""
    generator = np.random.default_rng(seed)
    keys = LAYOUT.pack(*(generator.integers(0, most, count) for most in (3, 40, 50)))
    scramble_(keys, SEED)
    return np.sort(keys)


def counted(keys: np.ndarray, units: np.ndarray | None = None) -> CountedEdges:
    plain = keys.copy()
    unscramble_(plain, SEED)
    return CountedEdges(LAYOUT.columns(plain), units, LAYOUT, SEED)


@pytest.mark.parametrize("size", [0, 1, 2, 1000, 1024])
@pytest.mark.parametrize("asked", [0, 1, 20, 900])  # of few the keys that are compared, of many all keys are made
def test_ranks_are_those_of_a_search_in_all_keys(size: int, asked: int) -> None:
    keys, others = scrambled(size, 1), scrambled(asked, 2)
    others = np.sort(np.concatenate([others, keys[: asked // 2], [np.uint64(0), np.uint64(2**64 - 1)]]))
    edges = counted(keys)
    assert np.array_equal(edges.all_keys, keys)
    assert np.array_equal(edges.ranks(others), np.searchsorted(keys, others))
    assert np.array_equal(edges.contains(others), np.isin(others, keys))


@given(size=st.integers(0, 60), more=st.integers(0, 20), chunk=st.integers(1, 70))
def test_chunks_join_to_all_edges_in_order(size: int, more: int, chunk: int) -> None:
    keys, added = scrambled(size, 1), scrambled(more, 2)
    insertion, left, units = insert_edges(counted(keys), added, None, None)
    assert units is None and np.array_equal(left, added)
    plain = added.copy()
    unscramble_(plain, SEED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(insertion_module, "_CHUNK", chunk)
        patch.setattr(insertion_module, "_ALONE", chunk)
        chunks = [LAYOUT.columns(plain[:0]), *insertion.chunks(plain)]
    columns = EdgeColumns(*(np.concatenate(column) for column in zip(*chunks, strict=True)))
    found = LAYOUT.pack(columns.rel, columns.lhs, columns.rhs)
    scramble_(found, SEED)
    assert np.array_equal(found, np.sort(np.concatenate([keys, added])))


def test_weights_add_up_where_they_are_summed() -> None:
    keys = scrambled(500, 1)
    keys = keys[np.append(True, keys[1:] != keys[:-1])]
    more = np.sort(np.concatenate([keys[::25], scrambled(3, 2)]))
    more = more[np.append(True, more[1:] != more[:-1])]
    is_summed = np.arange(len(more)) % 2 == 0
    insertion, added, units = insert_edges(counted(keys, np.full(len(keys), 10)), more, np.arange(len(more)), is_summed)
    repeated = is_summed & np.isin(more, keys)
    assert repeated.any() and np.array_equal(added, more[~repeated])
    assert len(insertion.at) == len(added) and len(units) == len(keys) + len(added)
    assert units.sum() == 10 * len(keys) + np.arange(len(more)).sum()
    assert set(units[np.isin(np.insert(keys, insertion.at, added), more[repeated])]) == set(
        10 + np.flatnonzero(repeated)
    )
