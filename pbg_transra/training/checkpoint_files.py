"""A training's checkpoint on disk: PBG's files, committed after each pass, and snapshots in the middle of one.

    model.partial/
      checkpoint_version.txt                     passes committed; written last, by a rename
      embeddings_<type>_<part>.v<version>.h5     of the committed version and of the next one, which is being made
      model.v<version>.h5
      trained.json                               edges and summed loss of each pass
      resume.json  resume-<n>/                   a snapshot: hard links to what was newest, and the position in the pass

A file is written aside and renamed, so a snapshot's links keep what they were made of.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import h5py
import torch
from pydantic import BaseModel, Field
from torch import Tensor

from artifacts.errors import DataError
from artifacts.files.hdf5 import BROKEN, open_hdf5
from artifacts.files.json_file import read_json
from artifacts.files.publish import write_json, write_text
from artifacts.machine.exhausted import first_line
from pbg_transra.backends.backend import RelationState
from pbg_transra.backends.divergence import require_finite
from pbg_transra.pbg.checkpoint_format import (
    read_relations,
    read_row_sums,
    vectors_in,
    write_partition,
    write_relations,
)
from pbg_transra.pbg.committed import VERSION_FILE
from pbg_transra.pbg.replaced import replaced

TRAINED_FILE, RESUME_FILE = "trained.json", "resume.json"


@dataclass(frozen=True)
class Position:
    """Where in a pass a snapshot was taken: buckets of its order that are done, edges done of the next one, and the
    pass's edges and summed loss so far."""

    buckets: int = 0
    edges: int = 0
    total_edges: int = 0
    total_loss: float = 0.0


class Snapshot(BaseModel):
    """What resume.json says: a position in the pass that follows the committed ones, and where its files are."""

    committed: int = Field(alias="pass")
    directory: str = Field(pattern=r"^resume-\d+-\d+$")
    buckets: int
    edges: int
    total_edges: int
    total_loss: float

    @property
    def position(self) -> Position:
        return Position(self.buckets, self.edges, self.total_edges, self.total_loss)


@dataclass(frozen=True)
class CheckpointFiles:
    """`metadata` goes into every file, as PBG does."""

    directory: Path
    metadata: Mapping[str, Any]

    @property
    def passes(self) -> int:
        """Passes committed. Raises DataError for an empty version file, which PBG would read as 0 and start anew."""
        path = self.directory / VERSION_FILE
        if not path.exists():
            return 0
        text = path.read_text().strip()
        if not text.isdecimal():
            raise DataError(f"{path}: found '{text}', expected the number of the last whole checkpoint")
        return int(text)

    @property
    def has_snapshot(self) -> bool:
        return (self.directory / RESUME_FILE).exists()

    @property
    def bytes(self) -> int:
        """On disk; what several links lead to counts once."""
        found = {(stat := path.lstat()).st_ino: stat.st_size for path in self.directory.rglob("*") if path.is_file()}
        return sum(found.values())

    def load(self, entity: str, partition: int, vectors: Tensor, sums: Tensor) -> bool:
        """Fills vectors (n, D) and sums (n,) in place from the newest file; False when there is none."""
        path = self._newest(f"embeddings_{entity}_{partition}")
        if path is None:
            return False
        with _opened(path) as file:
            dataset = vectors_in(file)
            if dataset.shape != tuple(vectors.shape):
                raise DataError(f"{path}: found vectors {dataset.shape}, expected {tuple(vectors.shape)}")
            if len(vectors):
                dataset.read_direct(vectors.numpy())
            kept = read_row_sums(file)
        sums.zero_() if kept is None else sums.copy_(kept)
        return True

    def save(self, entity: str, partition: int, vectors: Tensor, sums: Tensor, lr: float) -> None:
        """Writes a partition into the version that is being made. Raises Diverged, and writes nothing, at a NaN."""
        of_partition = f"of type '{entity}', partition {partition}"
        require_finite(f"the table of vectors {of_partition},", vectors)
        require_finite(f"the table of Adagrad sums {of_partition},", sums)
        with self._replaced(f"embeddings_{entity}_{partition}") as file:
            write_partition(file, vectors, sums, lr)

    def load_relations(self, expected: RelationState) -> RelationState | None:
        """Parameters and sums of all relations; None for a new training. Raises DataError unless they are those of
        `expected`, by name and shape."""
        path = self._newest("model")
        if path is None:
            return None
        with _opened(path) as file:
            parameters, sums = read_relations(file)
        wanted, found = shapes_of(expected.parameters), shapes_of(parameters)
        for key in sorted(wanted.keys() | found.keys()):
            if wanted.get(key) != found.get(key):
                raise DataError(
                    f"{path}: checkpoint of another model: relation {key[0]}, parameter '{key[1]}': found "
                    f"{found.get(key, 'nothing')}, expected {wanted.get(key, 'no such parameter')}"
                )
        return RelationState(parameters, None if sums is None else dict(zip(expected.parameters, sums, strict=True)))

    def save_relations(self, state: RelationState, lr: float) -> None:
        """Writes them into the version that is being made."""
        sums = state.sums or {key: torch.zeros_like(values) for key, values in state.parameters.items()}
        with self._replaced("model") as file:
            write_relations(file, state.parameters, [sums[key] for key in state.parameters], lr)

    def has_next(self, entity: str, partition: int) -> bool:
        """Whether the version that is being made holds a partition already."""
        return self._path(f"embeddings_{entity}_{partition}", self.passes + 1).exists()

    def carry(self, entity: str, partition: int) -> bool:
        """Takes an untouched partition over into the version that is being made; False when there is none."""
        old = self._path(f"embeddings_{entity}_{partition}", self.passes)
        if old.exists():
            os.link(old, self._path(f"embeddings_{entity}_{partition}", self.passes + 1))
        return old.exists()

    def commit_pass(self, done: Position) -> None:
        """The version that is being made becomes the committed one, and others are removed. `done`: all of the pass."""
        before = self._trained()[: self.passes]  # a kill may have left one that was not committed
        write_json(self.directory / TRAINED_FILE, [*before, [done.total_edges, done.total_loss]])
        self._commit(self.passes + 1)

    def mean_loss(self, passes: int) -> float:
        """Per edge, over the last passes that were trained."""
        edges, losses = zip(*self._trained()[-passes:], strict=True)
        return float(sum(losses) / max(1, sum(edges)))

    def keep_committed(self, directory: Path) -> None:
        """Makes a directory of hard links to the committed version."""
        shutil.rmtree(directory, ignore_errors=True)  # a kill may have left part of it
        directory.mkdir()
        for path in self.directory.glob(f"*.v{self.passes}.h5"):
            os.link(path, directory / path.name)
        os.sync()

    def commit_kept(self, directory: Path, version: int) -> None:
        """The version that was kept in a directory becomes the committed one again."""
        for file in directory.iterdir():
            os.link(file, self.directory / file.name)
        self._commit(version)

    def snapshot(self, position: Position) -> None:
        """Makes what is newest of everything the point to go on from."""
        name = f"resume-{position.buckets}-{position.edges}"
        directory = self.directory / name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        for path in self.directory.glob(f"*.v{self.passes + 1}.h5"):
            os.link(path, directory / path.name)
        os.sync()
        write_json(self.directory / RESUME_FILE, {"pass": self.passes, "directory": name, **asdict(position)})
        self._discard_snapshots(keep=name)

    def restore(self) -> Position:
        """Puts the files back to where training goes on, and returns that position."""
        self._remove_versions(keep={self.passes})
        path = self.directory / RESUME_FILE
        found = read_json(path, Snapshot, "a snapshot of a training") if path.exists() else None
        if found is None or found.committed != self.passes:
            self._discard_snapshots()
            return Position()
        for file in (self.directory / found.directory).iterdir():
            os.link(file, self.directory / file.name)
        self._discard_snapshots(keep=found.directory)
        return found.position

    def _trained(self) -> list[tuple[int, float]]:
        path = self.directory / TRAINED_FILE
        return read_json(path, list[tuple[int, float]], "edges and loss of each pass") if path.exists() else []

    def _commit(self, version: int) -> None:
        os.sync()
        write_text(self.directory / VERSION_FILE, f"{version}\n")
        self._remove_versions(keep={version})
        self._discard_snapshots()

    def _path(self, stem: str, version: int) -> Path:
        return self.directory / f"{stem}.v{version}.h5"

    def _newest(self, stem: str) -> Path | None:
        paths = [self._path(stem, version) for version in (self.passes + 1, self.passes)]
        return next((path for path in paths if path.exists()), None)

    def _replaced(self, stem: str) -> AbstractContextManager[h5py.File]:
        return replaced(self._path(stem, self.passes + 1), self.metadata)

    def _remove_versions(self, keep: set[int]) -> None:
        kept = tuple(f".v{version}.h5" for version in keep)
        for path in [*self.directory.glob("*.v*.h5"), *self.directory.glob("*.aside")]:
            if not path.name.endswith(kept):
                path.unlink()

    def _discard_snapshots(self, keep: str | None = None) -> None:
        if keep is None:
            (self.directory / RESUME_FILE).unlink(missing_ok=True)
        for path in self.directory.glob("resume-*"):
            if path.is_dir() and path.name != keep:
                shutil.rmtree(path)


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """A file of a checkpoint. Raises DataError of one line for whatever is wrong with it, also with a pickle in it."""
    what = "a file of a checkpoint"
    with open_hdf5(path, what) as file:
        try:
            yield file
        except (*BROKEN, UnpicklingError) as error:
            raise DataError(f"{path}: expected {what} ({first_line(error)})") from error


def shapes_of(parameters: Mapping[tuple[int, str], Tensor]) -> dict[tuple[int, str], tuple[int, ...]]:
    return {key: tuple(values.shape) for key, values in parameters.items()}
