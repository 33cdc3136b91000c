"""The published run that a training begins from (`model.warm_start`). Light: the face of the package exports it."""

from dataclasses import dataclass
from pathlib import Path

from artifacts.errors import ConfigError
from pbg_transra.config import ModelConfig

# Keys that two models must share for the vectors of one to mean the same in the other.
SPACE = ("dimension", "operator", "anchors", "similarity", "anchor_translation", "tail_bias")


@dataclass(frozen=True)
class PublishedModel:
    """A finished training: the id of its run, its graph, its checkpoint, and the section that it was made with."""

    run: str
    graph_dir: Path
    model_dir: Path
    model: ModelConfig

    def require_same_space(self, model: ModelConfig) -> None:
        """Raises ConfigError naming the keys whose change makes vectors of another space."""
        changed = [
            f"{key} {getattr(self.model, key)!r}, now {getattr(model, key)!r}"
            for key in SPACE
            if getattr(self.model, key) != getattr(model, key)
        ]
        if changed:
            raise ConfigError(
                f"model.warm_start: run {self.run} was trained with {'; '.join(changed)}, so its vectors cannot be "
                f"taken over; set them back, or begin cold once with --set model.warm_start=null"
            )
