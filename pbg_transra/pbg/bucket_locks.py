"""PyTorch-BigGraph's lock server: no two ranks hold the same partition, and each bucket is handed out once a pass.

Only its decisions are used. Its transport unpickles what comes in, waits a year for a rank that is gone, and cannot say
which one that was (`torchbiggraph/rpc.py`, `distributed.py`).
"""

import logging
from collections.abc import Collection, Sequence

from torchbiggraph.bucket_scheduling import BucketStats, LockServer
from torchbiggraph.stats import Stats
from torchbiggraph.types import Bucket as PBGBucket

from artifacts.formats.graph import Bucket, Side

logging.getLogger("torchbiggraph").setLevel(logging.WARNING)  # it tells of every bucket, which log.jsonl does, too


class BucketLocks:
    """The buckets of one pass."""

    def __init__(self, order: Sequence[Bucket], apart: bool, sides: Collection[Side] = tuple(Side)) -> None:
        """`order`: which come first where nothing else matters. `apart`: no type is split on both sides, so partition 1
        of heads and partition 1 of tails are different ones, which PBG would take for one. `sides`: those with types
        that are split; what is not split has partition 0 on the others, of which every rank has a copy."""
        self._shift = 1 + max((bucket.lhs for bucket in order), default=0) if apart else 0
        self._server = LockServer(0, 0, 0, Side.LHS in sides, Side.RHS in sides, init_tree=False)
        self._server.new_pass()
        self._server.buckets = [self._known(bucket) for bucket in order]

    def acquire(self, rank: int, previous: Bucket | None) -> Bucket | None:
        """A bucket whose partitions nobody else holds, such that it shares one with `previous` where there is one."""
        found, _ = self._server.acquire_bucket(rank, previous and self._known(previous))
        return None if found is None else Bucket(found.lhs, found.rhs - self._shift)

    def release(self, bucket: Bucket) -> None:
        known = self._known(bucket)
        self._server.release_bucket(known, BucketStats(known.lhs, known.rhs, 0, Stats(count=0)))

    def held(self, rank: int) -> int:
        """Buckets that a rank holds."""
        return sum(holder == rank for holder in self._server.active.values())

    @property
    def handed_out(self) -> bool:
        """Whether none is left to acquire."""
        return len(self._server.done) == len(self._server.buckets)

    @property
    def trained(self) -> bool:
        """Whether all were released."""
        return self.handed_out and not self._server.active

    def _known(self, bucket: Bucket) -> PBGBucket:
        return PBGBucket(bucket.lhs, bucket.rhs + self._shift)
