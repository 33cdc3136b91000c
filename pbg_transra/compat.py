"""The seam into torchbiggraph 1.0.0: what it fixes inside its training function, replaced by name while ours runs.

Each replacement answers a trap of that release; tests/test_compat.py has a test for each.
"""

import ctypes
import multiprocessing
import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.pool import Pool
from typing import Any
from unittest.mock import patch

import torch
import torchbiggraph.train
from torch import Tensor
from torchbiggraph.bucket_scheduling import BucketStats, SingleMachineBucketScheduler, create_ordered_buckets
from torchbiggraph.checkpoint_storage import CHECKPOINT_STORAGES, FileCheckpointStorage
from torchbiggraph.config import ConfigSchema
from torchbiggraph.types import Side
from torchbiggraph.util import create_pool, get_partitioned_types

from artifacts.errors import DataError
from pbg_transra.adagrad import HogwildRowAdagrad

SCHEME = "transra"
PR_SET_PDEATHSIG = 1  # linux/prctl.h
# Workers import torchbiggraph before anything of ours could filter what it warns about.
QUIET_IMPORT = "ignore:pkg_resources is deprecated,ignore:TypedStorage is deprecated"


@CHECKPOINT_STORAGES.register_as(SCHEME)
class AtomicCheckpointStorage(FileCheckpointStorage):
    """PBG's checkpoint files, with the version switched by a rename.

    PBG rewrites checkpoint_version.txt in place; killed at that moment it leaves an empty file, reads it as version 0
    and silently starts anew.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url.removeprefix(f"{SCHEME}://"))

    def save_version(self, version: int) -> None:
        os.sync()  # the files of this version reach the disk before anything points at them
        path = self.get_version_file()
        aside = path.with_suffix(".partial")
        aside.write_text(f"{version}\n")
        with aside.open() as file:
            os.fsync(file.fileno())
        os.replace(aside, path)

    def load_version(self) -> int:
        path = self.get_version_file()
        if path.exists() and not path.read_text().strip():
            raise DataError(f"{path}: empty, expected the version of the last whole checkpoint")
        return int(super().load_version())


class SeededBucketScheduler(SingleMachineBucketScheduler):
    """PBG shuffles the buckets of each pass with an unseeded generator."""

    def __init__(self, generator: random.Random, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.generator = generator

    def new_pass(self, is_first: bool) -> None:
        self.buckets = create_ordered_buckets(self.nparts_lhs, self.nparts_rhs, self.order, generator=self.generator)
        self.stats: list[BucketStats] = []


def ordered_partitioned_types(config: ConfigSchema, side: Side) -> tuple[int, list[str]]:
    """PBG hands out a set, whose order differs between processes."""
    partitions, names = get_partitioned_types(config, side)
    return partitions, sorted(names)


def initial_vectors(generator: torch.Generator, entity: str, count: int, dim: int, scale: float) -> tuple[Tensor, None]:
    """Independent normal vectors (count, dim) in shared memory, and no optimiser state.

    PBG repeats one block of a million random numbers.
    """
    vectors = torch.empty(count, dim).share_memory_()
    return vectors.normal_(0.0, scale, generator=generator), None


def seed_of(*numbers: int) -> int:
    """Mixes whole numbers into a seed for torch; Python hashes tuples of integers alike in every process."""
    return hash(numbers) & (2**63 - 1)


def prepare_worker(seed: int, workers: int) -> None:
    """Runs first in every worker: seeded by its index (PBG: by its process id), and it dies with its parent."""
    torch.manual_seed(seed_of(seed, worker_index(workers)))
    torch.multiprocessing.set_sharing_strategy("file_system")
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's to handle


def worker_index(workers: int) -> int:
    """Index of this process among the workers of a pool, from 0; they are started one after the other."""
    identity: tuple[int, ...] = multiprocessing.current_process()._identity
    number = identity[-1] if identity else 0  # the main process has none
    return number % workers


@contextmanager
def seamed(seed: int) -> Iterator[None]:
    """Replaces, inside torchbiggraph.train, what single-machine training gets wrong; undone at the end."""
    pools: list[Pool] = []

    def tracked_pool(*arguments: Any, **options: Any) -> Pool:
        pools.append(create_pool(*arguments, **options))
        return pools[-1]

    replacements: dict[str, Any] = {
        "RowAdagrad": HogwildRowAdagrad,
        "SingleMachineBucketScheduler": partial(SeededBucketScheduler, random.Random(seed)),
        "get_partitioned_types": ordered_partitioned_types,
        "init_embs": partial(initial_vectors, torch.Generator().manual_seed(seed)),
        "create_pool": tracked_pool,
    }
    threads = torch.get_num_threads()  # PBG sets it to one for good
    strategy = torch.multiprocessing.get_sharing_strategy()
    torch.multiprocessing.set_sharing_strategy("file_system")  # the default holds a file open per parameter
    try:
        with patch.multiple(torchbiggraph.train, **replacements), patch.dict(os.environ, PYTHONWARNINGS=QUIET_IMPORT):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.multiprocessing.set_sharing_strategy(strategy)
        for pool in pools:  # after an error its workers would wait for ever
            pool.terminate()
