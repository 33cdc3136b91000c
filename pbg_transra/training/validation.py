"""Validation between epochs: which epoch's checkpoint is the best so far, and whether to go on.

    model.partial/
      validation.json     the validations so far
      best-<epoch>/       hard links to the checkpoint of the best one

The links are made before the line in validation.json, and older ones go after it: a kill leaves at most a directory too
many, and the validation that it cut short is done again.
"""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from artifacts.files.json_file import read_json
from artifacts.files.publish import write_json
from pbg_transra.config import ModelConfig
from pbg_transra.training.checkpoint_files import CheckpointFiles


@dataclass(frozen=True)
class Validation:
    """What the checkpoint after an epoch, counted from 1, reaches on the sample: the more, the better."""

    epoch: int
    score: float


class Validations:
    """All of one training, in order; the checkpoint of the best is kept."""

    def __init__(self, files: CheckpointFiles, config: ModelConfig, measure: Callable[[Path], float] | None) -> None:
        """Goes on from what `files` hold. `measure` tells the score of a checkpoint; None: there is no validation."""
        self._files, self._config, self._measure = files, config, measure
        self._path = files.directory / "validation.json"
        self.done = (
            read_json(self._path, list[Validation], "the validations of a training") if self._path.exists() else []
        )
        if self.done and not self.over:
            self._go_on()

    @property
    def best(self) -> Validation | None:
        """The first of the best ones."""
        return max(self.done, key=lambda each: each.score, default=None)

    @property
    def over(self) -> bool:
        """Whether nothing is left to train: the last epoch was validated, or `patience` is at its end."""
        if self.best is None:
            return False
        worse = len(self.done) - 1 - self.done.index(self.best)
        patience = self._config.patience
        return self.done[-1].epoch >= self._config.epochs or (patience is not None and worse >= patience)

    def validate(self) -> Validation | None:
        """Validates the committed checkpoint if that is due; keeps it if it is the best."""
        if self._measure is None or not self._due():
            return None
        found = Validation(self._epoch, self._measure(self._files.directory))
        if self.best is None or found.score > self.best.score:
            self._files.keep_committed(self._kept(found))
        self.done.append(found)
        write_json(self._path, [asdict(each) for each in self.done])
        assert self.best is not None
        self._discard(keep=self._kept(self.best))
        return found

    def publish_best(self) -> None:
        """The best checkpoint becomes the committed one, if there was a validation at all."""
        if self.best is None:
            return
        version = self.best.epoch * self._config.edge_chunks
        if self._files.passes != version:
            self._files.commit_kept(self._kept(self.best), version)
        self._discard(keep=None)

    def _go_on(self) -> None:
        """An end that was killed may have gone back to the best checkpoint already, and `epochs` been raised since."""
        self.done = [each for each in self.done if each.epoch <= self._epoch]
        if self.best is not None and not self._kept(self.best).exists():
            self._files.keep_committed(self._kept(self.best))

    @property
    def _epoch(self) -> int:
        """Whole epochs that are committed."""
        return self._files.passes // self._config.edge_chunks

    def _due(self) -> bool:
        epoch, config = self._epoch, self._config
        if not epoch or self._files.passes % config.edge_chunks or any(each.epoch == epoch for each in self.done):
            return False
        return epoch == config.epochs or (config.validate_every is not None and epoch % config.validate_every == 0)

    def _kept(self, validation: Validation) -> Path:
        return self._files.directory / f"best-{validation.epoch}"

    def _discard(self, keep: Path | None) -> None:
        for path in self._files.directory.glob("best-*"):
            if path != keep:
                shutil.rmtree(path)
