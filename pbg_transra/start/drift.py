"""`model.max_drift`: how far a vector that was known before may move in a training, as a share of its length.

After each pass every known vector that is farther from its first value is put back to the bound, on the straight line
between them. It is a bound for one training: over n nights a vector may move n times as far.
"""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from pbg_transra.config import ModelConfig
from pbg_transra.start.first_values import FirstValues, first_values

SLACK = 1e-5  # of the bound: what rounding may add, so that a vector that was put back is not moved again


@dataclass(frozen=True)
class DriftBound:
    """The bound on vectors of one training."""

    first: FirstValues
    share: float

    def hold(self, entity: str, partition: int, vectors: Tensor) -> bool:
        """Puts vectors (n, D) of a partition back to the bound, in place; tells whether any was beyond."""
        known, (first, _) = self.first.known(entity, partition), self.first.partition(entity, partition)
        moved, most = (vectors - first).norm(dim=1), self.share * first.norm(dim=1)
        beyond = known & (moved > most * (1 + SLACK))
        factor = (most[beyond] / moved[beyond])[:, None]
        vectors[beyond] = first[beyond] + factor * (vectors[beyond] - first[beyond])
        return bool(beyond.any())


def drift_bound(model_dir: Path, config: ModelConfig) -> DriftBound | None:
    """The bound of a training into `model_dir`; None where the config has none, or nothing was known."""
    first = first_values(model_dir)
    return DriftBound(first, config.max_drift) if config.max_drift is not None and first is not None else None
