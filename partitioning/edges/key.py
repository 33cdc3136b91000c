"""An edge as one 64-bit key, and a shuffle that is only a sort.

A key is (relation, lhs offset, rhs offset) packed into 64 bits. Mixing it with a bijection of 64 bits (the finaliser of
splitmix64, Steele et al. 2014) and sorting the mixed keys puts edges in a random order that depends on nothing but the
edges and the seed; the inverse bijection gives the edges back. Sorting plain integers is the fastest pass there is.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifacts.errors import ResourceError
from artifacts.formats.bucket_file import EdgeColumns, narrowest
from artifacts.formats.graph import Side

Keys = NDArray[np.uint64]
Indices = NDArray[np.int64]

_CHUNK = 1 << 16  # keys that are mixed at once: temporaries stay in the cache
_STEPS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))
_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class KeyLayout:
    """Bits of a key: relation above lhs above rhs."""

    lhs_bits: int
    rhs_bits: int

    @classmethod
    def of(cls, relations: int, lhs_count: int, rhs_count: int) -> "KeyLayout":
        """The layout for counts of relations and of entities in the largest partition of each side.

        Raises ResourceError when they do not fit 64 bits.
        """
        bits = [max(count - 1, 0).bit_length() for count in (relations, lhs_count, rhs_count)]
        if sum(bits) > 64:
            raise ResourceError(
                f"graph.partitions: {relations} relations between {lhs_count} and {rhs_count} entities in a partition "
                f"need {sum(bits)} bits to tell edges apart, 64 are there; use more partitions"
            )
        return cls(bits[1], bits[2])

    def pack(self, relation: Indices, lhs: Indices, rhs: Indices) -> Keys:
        """Keys (N,) of relation indices, left-hand and right-hand offsets (N,)."""
        shift = self.lhs_bits + self.rhs_bits
        high = relation.astype(np.uint64) << np.uint64(shift) if shift < 64 else np.zeros(len(relation), np.uint64)
        return high | (lhs.astype(np.uint64) << np.uint64(self.rhs_bits)) | rhs.astype(np.uint64)

    def relation(self, keys: Keys) -> Indices:
        """Relation indices (N,) of keys (N,)."""
        shift = self.lhs_bits + self.rhs_bits
        return (keys >> np.uint64(shift) if shift < 64 else np.zeros_like(keys)).astype(np.int64)

    def offsets(self, side: Side, keys: Keys) -> Indices:
        """Offsets (N,) on a side of keys (N,)."""
        shift, bits = side.pick((self.rhs_bits, self.lhs_bits), (0, self.rhs_bits))
        return ((keys >> np.uint64(shift) if shift else keys) & np.uint64((1 << bits) - 1)).astype(np.int64)

    def column_types(self, relations: int) -> tuple[np.dtype[Any], ...]:
        """Types of lhs, rhs and rel in the files of a graph with so many relations."""
        return tuple(map(narrowest, (self.lhs_bits, self.rhs_bits, max(relations - 1, 0).bit_length())))

    def columns(self, keys: Keys) -> EdgeColumns:
        """What keys (N,) are made of."""
        return EdgeColumns(self.offsets(Side.LHS, keys), self.offsets(Side.RHS, keys), self.relation(keys))


def mix(keys: Keys) -> Keys:
    """splitmix64's finaliser of keys (N,): a bijection of 64 bits."""
    for shift, factor in _STEPS:
        keys = (keys ^ (keys >> np.uint64(shift))) * np.uint64(factor)
    return keys


def unmix(keys: Keys) -> Keys:
    """The inverse of `mix`."""
    for shift, factor in reversed(_STEPS):
        keys = keys * np.uint64(pow(factor, -1, 1 << 64))
        keys = keys ^ (keys >> np.uint64(shift)) ^ (keys >> np.uint64(2 * shift))
    return keys


def scramble_(keys: Keys, seed: int) -> None:
    """Replaces keys (N,) in place by others, one to one: sorted, they are in random order."""
    for start in range(0, len(keys), _CHUNK):
        keys[start : start + _CHUNK] = mix(keys[start : start + _CHUNK] ^ _salt(seed))


def unscramble_(keys: Keys, seed: int) -> None:
    """The inverse of `scramble_`."""
    for start in range(0, len(keys), _CHUNK):
        keys[start : start + _CHUNK] = unmix(keys[start : start + _CHUNK]) ^ _salt(seed)


def _salt(seed: int) -> np.uint64:
    return np.uint64((seed * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) & _MASK)
