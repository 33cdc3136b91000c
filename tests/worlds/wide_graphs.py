"""A graph as PBG's importer, and partitioning before version 5, would write it: three int64 to an edge."""

from pathlib import Path

import h5py
import numpy as np

from artifacts.formats.bucket_file import COLUMNS


def widen(graph_dir: Path) -> None:
    """Replaces the columns of every bucket by int64."""
    for path in graph_dir.rglob("edges_*.h5"):
        with h5py.File(path, "r+") as file:
            for name in COLUMNS:
                content = file[name][:].astype(np.int64)
                del file[name]
                file.create_dataset(name, data=content, track_times=False)
