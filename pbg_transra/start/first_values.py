"""What a warm training began with, kept until it is done, for those who hold vectors to it (who was known: `known`).

start/embeddings_<type>_<part>.v0.h5   hard links to the first values
start/model.v0.h5                      those of the relations
start/known_relations.json             names of the relations that were known
"""

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from artifacts.files.hdf5 import open_hdf5
from artifacts.files.json_file import read_json
from artifacts.files.publish import write_json
from artifacts.formats.graph import Graph
from pbg_transra.backends.backend import RelationState
from pbg_transra.known import known_before
from pbg_transra.pbg.checkpoint_format import read_relations, read_row_sums, vectors_in

DIRECTORY = "start"  # in a training's directory
WHAT = "the first values of a training"


def keep_start(model_dir: Path, graph: Graph, relations: Iterable[str]) -> None:
    """Keeps the first values in version 0 of `model_dir`, and the names of the relations that were known."""
    directory = model_dir / DIRECTORY
    shutil.rmtree(directory, ignore_errors=True)  # a kill may have left part of it
    directory.mkdir()
    for kind in graph.entity_types:
        for partition in range(kind.partitions):
            name = f"embeddings_{kind.name}_{partition}.v0.h5"
            os.link(model_dir / name, directory / name)
    os.link(model_dir / "model.v0.h5", directory / "model.v0.h5")
    write_json(directory / "known_relations.json", list(relations))


def discard_start(model_dir: Path) -> None:
    """Forgets the first values, where any were kept: training is done."""
    shutil.rmtree(model_dir / DIRECTORY, ignore_errors=True)


@dataclass(frozen=True)
class FirstValues:
    """Those that were kept in a directory."""

    directory: Path

    def known(self, entity: str, partition: int) -> Tensor:
        """Who was known, (n,) bool."""
        return torch.from_numpy(known_before(self.directory.parent, entity, partition))

    def partition(self, entity: str, partition: int) -> tuple[Tensor, Tensor]:
        """Vectors (n, D) and Adagrad sums (n,) of a partition."""
        with open_hdf5(self.directory / f"embeddings_{entity}_{partition}.v0.h5", WHAT) as file:
            vectors, sums = torch.from_numpy(vectors_in(file)[...]), read_row_sums(file)
        return vectors, torch.zeros(len(vectors)) if sums is None else sums

    def known_relations(self) -> list[str]:
        return read_json(self.directory / "known_relations.json", list[str], "names of relations")

    def relations(self, expected: RelationState) -> RelationState:
        """Parameters and sums of all relations, by the keys of `expected`."""
        with open_hdf5(self.directory / "model.v0.h5", WHAT) as file:
            parameters, sums = read_relations(file)
        return RelationState(parameters, dict(zip(expected.parameters, sums or [], strict=True)))


def first_values(model_dir: Path) -> FirstValues | None:
    """Those of a training into `model_dir`; None where none were kept, or nothing was known."""
    directory = model_dir / DIRECTORY
    return FirstValues(directory) if directory.is_dir() else None
