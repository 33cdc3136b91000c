"""Portable hashes of edges, which decide the random split and what a hub keeps."""

import hashlib

import numpy as np

from partitioning.config.sections import RandomSplit
from partitioning.edges.key import Indices, Keys, mix
from partitioning.events.relations import NamedRelation


def inverses(relations: list[NamedRelation]) -> dict[str, str]:
    """Of each inverse, the name of the relation that it turns around."""
    return {relation.config.inverse: relation.name for relation in relations if relation.config.inverse}


def edge_hash(
    purpose: str,
    relations: list[NamedRelation],
    relation: Indices,
    lhs_hash: Keys,
    rhs_hash: Keys,
) -> Keys:
    """Hashes (N,) of edges, given relation indices (N,) and the md5 hashes (N,) of both ids.

    A portable hash of (purpose, lhs id, relation name, rhs id); an inverse has the hash of the edge that it turns
    around.
    """
    original = inverses(relations)
    digests = [hashlib.md5(f"{purpose}\t{original.get(r.name, r.name)}".encode()).digest()[8:] for r in relations]
    salt = np.array([int.from_bytes(digest, "little") for digest in digests], np.uint64)
    turned = np.array([r.name in original for r in relations])[relation]
    head, tail = np.where(turned, rhs_hash, lhs_hash), np.where(turned, lhs_hash, rhs_hash)
    # Mixing between the steps keeps (a, b) and (b, a) apart.
    return mix(mix(mix(salt[relation]) ^ head) ^ tail)


def split_by_hash(
    random: RandomSplit,
    seed: int,
    relations: list[NamedRelation],
    relation: Indices,
    lhs_hash: Keys,
    rhs_hash: Keys,
) -> Indices:
    """Split codes (N,) of edges: their hash, read as a fraction of 2^64, is lowest in test.

    An inverse falls where its original does, else it would tell training what the test asks.
    """
    fraction = edge_hash(str(seed), relations, relation, lhs_hash, rhs_hash) / 2.0**64
    return np.where(fraction < random.test, 2, np.where(fraction < random.test + random.valid, 1, 0))
