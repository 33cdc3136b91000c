"""A checkpoint file appears whole or not at all."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
from torchbiggraph.checkpoint_storage import FORMAT_VERSION, FORMAT_VERSION_ATTR


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
