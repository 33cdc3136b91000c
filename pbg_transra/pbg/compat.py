"""The seam into torchbiggraph 1.0.0, and what its processes need.

The loop over buckets is ours (`pbg_transra.training`); PBG's bucket order, files, batches, losses and comparators are
used as they are. `tests/training/test_compat.py` has a test for each trap of that release that training on one machine
meets.
"""

import ctypes
import io
import multiprocessing
import os
import signal
from typing import Any, Optional

import torch
import torchbiggraph.checkpoint_manager
import torchbiggraph.schema

PR_SET_PDEATHSIG = 1  # linux/prctl.h
# Workers import torchbiggraph before anything of ours could filter what it warns about.
QUIET_IMPORT = "ignore:pkg_resources is deprecated,ignore:TypedStorage is deprecated"


def unpack_optional(type_: Any) -> Any:
    """Returns x of Optional[x]. Raises TypeError for other types.

    PBG compares by identity, which holds only while `typing` has Optional[x] in its cache of 128; a process that
    imports pydantic or pandas fills it, and then PBG neither reads nor writes a config.
    """
    arguments = getattr(type_, "__args__", ())
    if not arguments or type_ != Optional[arguments[0]]:  # noqa: UP045  the type itself, not an annotation
        raise TypeError("Not an optional type")
    return arguments[0]


torchbiggraph.schema.unpack_optional = unpack_optional  # for good: configs are read and written at any time


def deserialize_optim_state(serialized: bytes | None) -> dict[str, Any] | None:
    """Returns an optimiser's state. Raises UnpicklingError for a pickle that is more than tensors.

    PBG leaves it to an environment variable whether such a pickle may execute what it likes.
    """
    if serialized is None:
        return None
    state: dict[str, Any] = torch.load(io.BytesIO(serialized), weights_only=True)
    return state


torchbiggraph.checkpoint_manager.deserialize_optim_state = deserialize_optim_state


def seed_of(*numbers: int) -> int:
    """Mixes whole numbers into a seed for torch; Python hashes tuples of integers alike in every process."""
    return hash(numbers) & (2**63 - 1)


def prepare_worker() -> None:
    """Runs first in every worker: it computes on one thread and dies with its parent."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is not None and os.getppid() != parent.pid:
        os._exit(1)  # it was gone before the line above
    torch.set_num_threads(1)
    torch.multiprocessing.set_sharing_strategy("file_system")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a fork has the parent's handler


def worker_index(workers: int) -> int:
    """Index of this process among the workers, from 0; they are started one after the other."""
    identity: tuple[int, ...] = multiprocessing.current_process()._identity
    number = identity[-1] if identity else 0  # the main process has none
    return number % workers
