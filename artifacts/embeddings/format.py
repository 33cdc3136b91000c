"""The exported vectors: one HDF5 file whose arrays are contiguous and uncompressed, so that they can be memory-mapped.

    /entities/<type>/vectors          (N, D) float32 or float16; rows in the graph's order: partition by partition
    /entities/<type>/degrees          (N, K) int32, optional: training edges of each entity by relation and side;
                                      attribute `names` (JSON list) says which column counts what
    /entities/<type>/trained          (N,) uint8, optional: 0 where no training edge ever told where the entity belongs;
                                      its vector is zeros (but for the constant of a type in `bias_against`), and
                                      `Embeddings` takes it as unknown; absent: all are trained
    /entities/<type>/ids/bytes        (bytes,) uint8: the UTF-8 of all ids, one after the other
    /entities/<type>/ids/offsets      (N + 1,) int64: id i is bytes[offsets[i]:offsets[i + 1]]
    /entities/<type>/ids/hash_sorted  (N,) uint64: the lower half of every id's md5, ascending
    /entities/<type>/ids/hash_rows    (N,) int64: the row that each of them belongs to
    /entities/<type>/labels/bytes     (bytes,) uint8, optional: of all labels, which people read beside ids;
    /entities/<type>/labels/offsets   (N + 1,) int64: that of row i is bytes[offsets[i]:offsets[i + 1]], no bytes: none
    /relations/<index>                in the order of the index: the group tracks the order of creation, which h5py
                                      follows (files of earlier writers iterate as text; `Embeddings` sorts by number);
                                      attributes name, lhs, rhs, operator; one dataset per parameter of the operator:
                                      projection (D, D), or left_projection and right_projection, and translation (D,);
                                      a projection that is absent (an anchor relation's) is the identity

Attributes of the root: format, format_version, anchors (JSON list), operator, dimension, similarity, scale,
config_hash, run_id, metrics (JSON), and bias_against (JSON list): types whose first component is the constant that the
first component of an anchor's tail, a bias, is multiplied by; none without `model.tail_bias`. The hash is the one by
which `partitioning` places ids.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import md5
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

FORMAT = "transra embeddings"
FORMAT_VERSION = 1
PLAIN_ATTRIBUTES: dict[str, tuple[type, ...]] = {
    "operator": (str,),
    "dimension": (int,),
    "similarity": (str,),
    "scale": (float, int),
    "config_hash": (str,),
    "run_id": (str,),
}
JSON_ATTRIBUTES: dict[str, Any] = {"anchors": list[str], "metrics": dict[str, Any], "bias_against": list[str]}
ABSENT: dict[str, Any] = {"bias_against": []}  # what a file without the attribute means by it
ROOT_ATTRIBUTES = (*PLAIN_ATTRIBUTES, *JSON_ATTRIBUTES)
RELATION_ATTRIBUTES = ("name", "lhs", "rhs", "operator")
LABEL_TYPES = {"bytes": "uint8", "offsets": "int64"}
ID_TYPES = {"bytes": "uint8", "offsets": "int64", "hash_sorted": "uint64", "hash_rows": "int64"}
VECTOR_TYPES = ("float32", "float16")
SIMILARITIES = ("dot", "cos", "l2", "squared_l2")

Array = NDArray[Any]
Ids: TypeAlias = "Sequence[str | None] | Array | pa.Array | pa.ChunkedArray"


def hash_ids(ids: pa.Array) -> NDArray[np.uint64]:
    """Returns the lower 64 bits of each id's md5, (N,); a null hashes like the empty id."""
    digests = [md5(id or b"", usedforsecurity=False).digest() for id in ids.cast(pa.large_binary()).to_pylist()]
    return np.frombuffer(b"".join(digests), dtype="<u8")[1::2]


def as_ids(ids: Ids) -> pa.LargeStringArray:
    """Returns ids as one Arrow array. Raises pyarrow's TypeError when they are no strings."""
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.combine_chunks()
    if isinstance(ids, pa.Array):
        return ids.cast(pa.large_string())
    return pa.array(ids, type=pa.large_string())


@dataclass(frozen=True)
class ExportedRelation:
    """A relation as exported; `parameters` by name, each (D, D) or (D,)."""

    name: str
    lhs: str
    rhs: str
    operator: str
    parameters: Mapping[str, Array]
