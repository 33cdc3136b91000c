"""What a directory with a model holds, and where.

manifest.json      class Manifest; written last, so that a directory with one is whole
transforms.json    what categoricals and numerics were fitted to (ranker.data.tabular.transforms.Fitted)
counts/            what the log counted by day, where `ranker.counts` asked for any (ranker.data.tabular.count_table)
network.pt2        everything but the tables, by torch.export
ids.npy            the ID table, (R, D) float32, where the arm has one
embeddings.h5      the export that the arm reads: ids, vectors and degrees
vectors_<type>.npy (N, D) float32: the vectors of a type, where the arm fine-tuned them
"""

from pathlib import Path
from typing import Any, Literal

from artifacts.files.json_file import read_json
from artifacts.formats.run import EMBEDDINGS
from artifacts.section import Section
from ranker.config.columns import SlotConfig
from ranker.data.tabular.transforms import Fitted

MANIFEST, TRANSFORMS, EXPORTED, IDS = "manifest.json", "transforms.json", "network.pt2", "ids.npy"
PREDICTIONS = {"ctr": "click", "cvr": "conversion"}  # what a task's probability is called


class ExportIdentity(Section):
    """Which export a model reads: the run that it came from, and the SHA-256 of its file."""

    run_id: str
    sha256: str


class Manifest(Section):
    """How rows become what the network reads. `columns` are those it needs, each with the kind of its values."""

    format: Literal["transra scorer"] = "transra scorer"
    format_version: Literal[1] = 1
    arm: str
    tasks: tuple[Literal["ctr", "cvr"], ...]
    columns: dict[str, str]
    slots: dict[str, SlotConfig]
    counts: tuple[tuple[str, ...], ...] = ()  # the columns, one or two, that are counted by
    counted: tuple[str, ...] = ()  # what is said of each (LabelsConfig.counted)
    time_column: str
    time_unit: Literal["s", "ms", "us"]
    hashes: int | None  # rows of the ID table that make up an id; None without a table
    vectors: tuple[str, ...]  # entity types whose vectors the network reads
    degrees: tuple[str, ...]  # and those whose degrees it reads
    tuned: bool  # whether the vectors are other than the export's
    export: ExportIdentity | None  # None where the arm reads none
    pseudonyms: str | None  # which key makes the graph's ids (artifacts.pseudonyms.key_mark)
    trained: dict[str, Any]  # rows, labels, days, epochs, steps
    calibration: dict[str, float | None]  # predicted over observed on the newest training rows, by task
    torch: str  # the version that exported the network

    @classmethod
    def of(cls, directory: Path) -> "Manifest":
        """Raises DataError where there is no model of this version."""
        return read_json(directory / MANIFEST, cls, "the manifest of a scorer, version 1")


def fitted_of(directory: Path) -> Fitted:
    """Raises DataError for what is no state of transforms."""
    return read_json(directory / TRANSFORMS, Fitted, "what the transforms of a scorer were fitted to")


def export_path(directory: Path) -> Path:
    return directory / EMBEDDINGS


def tuned_path(directory: Path, entity_type: str) -> Path:
    return directory / f"vectors_{entity_type}.npy"
