"""PyTorch-BigGraph's order of buckets."""

import random

from torchbiggraph.bucket_scheduling import create_ordered_buckets
from torchbiggraph.config import BucketOrder

from artifacts.formats.graph import Bucket


def inside_out(lhs_partitions: int, rhs_partitions: int, seed: int) -> list[Bucket]:
    """All buckets: neighbours share a partition, and each but the first has one that was trained before."""
    order = create_ordered_buckets(
        lhs_partitions, rhs_partitions, BucketOrder.INSIDE_OUT, generator=random.Random(seed)
    )
    return [Bucket(*bucket) for bucket in order]
