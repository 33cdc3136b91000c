"""A checkpoint that several ranks write on a file system that they share.

Each file says when it was saved, by a stamp that the ranks tell each other: a file system that shows a rank what was
there before would otherwise train old vectors again, and nobody would see it.
"""

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex

import h5py
from torch import Tensor

from artifacts.errors import DataError
from artifacts.files.hdf5 import open_hdf5
from pbg_transra.pbg.replaced import replaced
from pbg_transra.ranks.coordinator import Stamps
from pbg_transra.training.checkpoint_files import CheckpointFiles, Position

STAMP = "transra_saved"  # an attribute; PBG's readers take it for metadata
LOOK_SECONDS = 0.1


@dataclass
class Agreed:
    """What a rank knows: passes committed (None: it looks itself), stamps of the newest files, and those of files that
    it has saved and not yet told."""

    passes: int | None = None
    stamps: Stamps = field(default_factory=dict)
    saved: Stamps = field(default_factory=dict)

    def tell(self) -> Stamps:
        """What is to be told."""
        told, self.saved = self.saved, {}
        return told


@dataclass(frozen=True)
class SharedFiles(CheckpointFiles):
    """`patience`: seconds within which it must be seen what another rank has saved."""

    agreed: Agreed = field(default_factory=Agreed)
    patience: float = 60.0

    @property
    def passes(self) -> int:
        return super().passes if self.agreed.passes is None else self.agreed.passes

    def restore(self) -> Position:
        """A pass is begun anew: a snapshot says which buckets one machine had trained, in its order."""
        self._discard_snapshots()
        return super().restore()

    def load(self, entity: str, partition: int, vectors: Tensor, sums: Tensor) -> bool:
        """As on one machine. Raises DataError for a file that is older than what was saved last."""
        self._require_seen(f"embeddings_{entity}_{partition}")
        return super().load(entity, partition, vectors, sums)

    def require_all_seen(self) -> None:
        """Raises DataError where a file of the others is not there."""
        for stem in self.agreed.stamps:
            self._require_seen(stem)

    def _require_seen(self, stem: str) -> None:
        until = time.monotonic() + self.patience
        while not self._is_seen(stem):
            if time.monotonic() > until:
                raise DataError(
                    f"{self.directory}: {stem} is not as another rank has saved it; expected a file system that shows "
                    f"every machine the newest files"
                )
            time.sleep(LOOK_SECONDS)

    def _is_seen(self, stem: str) -> bool:
        path, stamp = self._newest(stem), self.agreed.stamps.get(stem)
        if path is None:
            return not self.passes and stamp is None
        return stamp is None or _stamp_of(path) == stamp

    def _replaced(self, stem: str) -> AbstractContextManager[h5py.File]:
        stamp = self.agreed.stamps[stem] = self.agreed.saved[stem] = token_hex(8)
        return replaced(self._path(stem, self.passes + 1), {**self.metadata, STAMP: stamp})


def _stamp_of(path: Path) -> str:
    with open_hdf5(path, "a file of a checkpoint") as file:
        return str(file.attrs.get(STAMP, ""))
