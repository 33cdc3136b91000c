"""A training's checkpoint on disk: PBG's files, committed after each pass, and snapshots in the middle of one.

    model.partial/
      checkpoint_version.txt                     passes committed; written last, by a rename
      embeddings_<type>_<part>.v<version>.h5     of the committed version and of the next one, which is being made
      model.v<version>.h5
      resume.json  resume-<n>/                   a snapshot: hard links to what was newest, and the position in the pass

A file is written aside and renamed, so a snapshot's links keep what they were made of.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
from torch import Tensor
from torchbiggraph.checkpoint_manager import (
    deserialize_optim_state,
    model_state_dict_private_to_public,
    model_state_dict_public_to_private,
    serialize_optim_state,
)
from torchbiggraph.checkpoint_storage import (
    EMBEDDING_DATASET,
    FORMAT_VERSION,
    FORMAT_VERSION_ATTR,
    load_model_state_dict,
    load_optimizer_state_dict,
    save_embeddings,
    save_model_state_dict,
    save_optimizer_state_dict,
)

from artifacts.errors import DataError
from artifacts.publish import write_json, write_text

VERSION_FILE, RESUME_FILE = "checkpoint_version.txt", "resume.json"


@dataclass(frozen=True)
class Position:
    """Where in a pass a snapshot was taken: buckets of its order that are done, edges done of the next one, and the
    pass's edges and summed loss so far."""

    buckets: int = 0
    edges: int = 0
    total_edges: int = 0
    total_loss: float = 0.0


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

    def load(self, entity: str, partition: int, vectors: Tensor, sums: Tensor) -> bool:
        """Fills vectors (n, D) and sums (n,) in place from the newest file; False when there is none."""
        path = self._newest(f"embeddings_{entity}_{partition}")
        if path is None:
            return False
        with h5py.File(path, "r") as file:
            dataset = file[EMBEDDING_DATASET]
            if dataset.shape != tuple(vectors.shape):
                raise DataError(f"{path}: found vectors {dataset.shape}, expected {tuple(vectors.shape)}")
            if len(vectors):
                dataset.read_direct(vectors.numpy())
            state = deserialize_optim_state(load_optimizer_state_dict(file))
        sums.copy_(state["state"][0]["sum"]) if state else sums.zero_()
        return True

    def save(self, entity: str, partition: int, vectors: Tensor, sums: Tensor, lr: float) -> None:
        """Writes a partition into the version that is being made."""
        state = {"state": {0: {"sum": sums.clone()}}, "param_groups": [{"lr": lr, "params": [0]}]}
        with self._replaced(f"embeddings_{entity}_{partition}") as file:
            save_embeddings(file, vectors)
            save_optimizer_state_dict(file, serialize_optim_state(state))

    def load_model(self) -> tuple[dict[str, Tensor] | None, dict[str, Any] | None]:
        """Relation parameters by state-dict key, and the optimiser's state; None for a new training."""
        path = self._newest("model")
        if path is None:
            return None, None
        with h5py.File(path, "r") as file:
            parameters = model_state_dict_public_to_private(load_model_state_dict(file))
            return parameters, deserialize_optim_state(load_optimizer_state_dict(file))

    def save_model(self, parameters: Mapping[str, Tensor], optimizer_state: dict[str, Any]) -> None:
        with self._replaced("model") as file:
            save_model_state_dict(file, model_state_dict_private_to_public(dict(parameters)))
            save_optimizer_state_dict(file, serialize_optim_state(optimizer_state))

    def has_next(self, entity: str, partition: int) -> bool:
        """Whether the version that is being made holds a partition already."""
        return self._path(f"embeddings_{entity}_{partition}", self.passes + 1).exists()

    def carry(self, entity: str, partition: int) -> bool:
        """Takes an untouched partition over into the version that is being made; False when there is none."""
        old = self._path(f"embeddings_{entity}_{partition}", self.passes)
        if old.exists():
            os.link(old, self._path(f"embeddings_{entity}_{partition}", self.passes + 1))
        return old.exists()

    def commit_pass(self) -> None:
        """The version that is being made becomes the committed one; what it replaces is removed."""
        os.sync()
        write_text(self.directory / VERSION_FILE, f"{self.passes + 1}\n")
        self._remove_versions(keep={self.passes})
        self._discard_snapshots()

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
        found = json.loads(path.read_text()) if path.exists() else {}
        if found.get("pass") != self.passes:
            self._discard_snapshots()
            return Position()
        for file in (self.directory / found["directory"]).iterdir():
            os.link(file, self.directory / file.name)
        self._discard_snapshots(keep=found["directory"])
        return Position(**{key: found[key] for key in asdict(Position())})

    def _path(self, stem: str, version: int) -> Path:
        return self.directory / f"{stem}.v{version}.h5"

    def _newest(self, stem: str) -> Path | None:
        paths = [self._path(stem, version) for version in (self.passes + 1, self.passes)]
        return next((path for path in paths if path.exists()), None)

    def _replaced(self, stem: str) -> "Replaced":
        return Replaced(self._path(stem, self.passes + 1), self.metadata)

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


class Replaced:
    """An HDF5 file written aside and renamed at the end of the block."""

    def __init__(self, path: Path, metadata: Mapping[str, Any]) -> None:
        self.path, self.aside = path, path.with_suffix(".aside")
        self.metadata = metadata

    def __enter__(self) -> h5py.File:
        self.file = h5py.File(self.aside, "w")
        self.file.attrs[FORMAT_VERSION_ATTR] = FORMAT_VERSION
        self.file.attrs.update(self.metadata)
        return self.file

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: object) -> None:
        self.file.close()
        if kind is None:
            os.replace(self.aside, self.path)
