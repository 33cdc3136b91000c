"""The random split: a portable hash of the edge decides."""

import hashlib

import numpy as np

from partitioning.config import RandomSplit
from partitioning.events import NamedRelation
from partitioning.key import Indices, Keys, mix


def draw_split(
    random: RandomSplit,
    seed: int,
    relations: list[NamedRelation],
    relation: Indices,
    lhs_hash: Keys,
    rhs_hash: Keys,
) -> Indices:
    """Split codes (N,) of edges, given relation indices (N,) and the md5 hashes (N,) of both ids.

    A portable hash of (seed, lhs id, relation name, rhs id), read as a fraction of 2^64: test is the lowest part. An
    inverse is drawn as the edge that it turns around, else it would tell training what the test asks.
    """
    originals = {r.config.inverse: r.name for r in relations if r.config.inverse}
    digests = [hashlib.md5(f"{seed}\t{originals.get(r.name, r.name)}".encode()).digest()[8:] for r in relations]
    salt = np.array([int.from_bytes(digest, "little") for digest in digests], np.uint64)
    turned = np.array([r.name in originals for r in relations])[relation]
    head, tail = np.where(turned, rhs_hash, lhs_hash), np.where(turned, lhs_hash, rhs_hash)
    # Mixing between the steps keeps (a, b) and (b, a) apart.
    fraction = mix(mix(mix(salt[relation]) ^ head) ^ tail) / 2.0**64
    return np.where(fraction < random.test, 2, np.where(fraction < random.test + random.valid, 1, 0))
