"""Curves for TensorBoard, whose package is an extra.

tensorboard --logdir runs/demo
"""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from artifacts.errors import ConfigError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


def require_tensorboard(key: str) -> None:
    """Raises ConfigError where the package is missing that the config asks for under `key`."""
    if find_spec("tensorboard") is None:
        raise ConfigError(
            f"{key}: the package 'tensorboard' is not installed; `pip install '.[tensorboard]'`, or set it to false"
        )


class ScalarWriter:
    """Scalars by step in one directory; nothing is written before the first."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._writer: SummaryWriter | None = None

    def add(self, step: int, values: Mapping[str, float]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        if self._writer is None:  # what an interrupted attempt wrote from here on is done again
            self._writer = SummaryWriter(str(self._directory), purge_step=step)
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
