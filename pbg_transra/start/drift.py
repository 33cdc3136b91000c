"""`model.max_drift`: how far a vector that was known before may move in a training, as a share of its length.

    start/embeddings_<type>_<part>.v0.h5   hard links to the first values
    start/known_<type>_<part>.npy          (n,) bool: who was known

After each pass every known vector that is farther from its first value is put back to the bound, on the straight line
between them. It is a bound for one training: over n nights a vector may move n times as far.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from artifacts.graph import Graph
from artifacts.hdf5 import open_hdf5
from pbg_transra.config import ModelConfig
from pbg_transra.pbg.checkpoint_format import vectors_in

DIRECTORY = "start"  # in a training's directory
SLACK = 1e-5  # of the bound: what rounding may add, so that a vector that was put back is not moved again


def keep_start(model_dir: Path, graph: Graph, rows: Mapping[str, Sequence[NDArray[np.int64]]]) -> None:
    """Keeps the first values in version 0 of `model_dir`, and who was known: `rows` (n,) are not -1."""
    directory = model_dir / DIRECTORY
    shutil.rmtree(directory, ignore_errors=True)  # a kill may have left part of it
    directory.mkdir()
    for kind in graph.entity_types:
        for partition, of_partition in enumerate(rows[kind.name]):
            np.save(directory / f"known_{kind.name}_{partition}.npy", of_partition >= 0)
            name = f"embeddings_{kind.name}_{partition}.v0.h5"
            os.link(model_dir / name, directory / name)


@dataclass(frozen=True)
class DriftBound:
    """The bound on vectors of one training."""

    directory: Path
    share: float

    def hold(self, entity: str, partition: int, vectors: Tensor) -> bool:
        """Puts vectors (n, D) of a partition back to the bound, in place; tells whether any was beyond."""
        known = torch.from_numpy(np.load(self.directory / f"known_{entity}_{partition}.npy"))
        path = self.directory / f"embeddings_{entity}_{partition}.v0.h5"
        with open_hdf5(path, "the first values of a training") as file:
            first = torch.from_numpy(vectors_in(file)[...])
        moved, most = (vectors - first).norm(dim=1), self.share * first.norm(dim=1)
        beyond = known & (moved > most * (1 + SLACK))
        factor = (most[beyond] / moved[beyond])[:, None]
        vectors[beyond] = first[beyond] + factor * (vectors[beyond] - first[beyond])
        return bool(beyond.any())

    def discard(self) -> None:
        """Forgets the first values: training is done."""
        shutil.rmtree(self.directory)


def drift_bound(model_dir: Path, config: ModelConfig) -> DriftBound | None:
    """The bound of a training into `model_dir`; None where the config has none, or nothing was known."""
    directory = model_dir / DIRECTORY
    return DriftBound(directory, config.max_drift) if config.max_drift is not None and directory.is_dir() else None
