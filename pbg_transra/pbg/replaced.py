"""A checkpoint file appears whole or not at all."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
from torchbiggraph.checkpoint_storage import FORMAT_VERSION, FORMAT_VERSION_ATTR

from artifacts.files.hdf5 import new_file


@contextmanager
def replaced(path: Path, metadata: Mapping[str, Any]) -> Iterator[h5py.File]:
    """Yields an HDF5 file that is written aside and renamed to `path` at the end of the block; gone if it failed."""
    aside = path.with_suffix(".aside")
    with new_file(aside) as file:
        file.attrs[FORMAT_VERSION_ATTR] = FORMAT_VERSION
        file.attrs.update(metadata)
        yield file
    os.replace(aside, path)
