"""Writes a trained model as the directory that a scorer opens (ranker.scoring.manifest), and opens it to be sure."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from artifacts.embeddings import Embeddings
from artifacts.files.intact import file_digest
from artifacts.files.publish import sync_files, write_json
from artifacts.pseudonyms import key_mark
from ranker.config.sections import RankerConfig
from ranker.data.ids.slots import Layout
from ranker.data.log.block import LogBlock
from ranker.data.log.impression_log import ImpressionLog
from ranker.data.log.schemas import filled, has_values, kind_of
from ranker.data.prepare import TRANSFORMS as FITTED
from ranker.data.records import Records, Split, judged
from ranker.data.tabular.count_log import remove_counts
from ranker.data.tabular.counts import DIRECTORY
from ranker.evaluation.predictions import logits_of
from ranker.evaluation.streaming_metrics import StreamingMetrics
from ranker.model.dense import degree_widths, export_dense, table_of, vector_types
from ranker.model.ranker_model import RankerModel
from ranker.scoring.manifest import (
    EXPORTED,
    IDS,
    MANIFEST,
    PREDICTIONS,
    TRANSFORMS,
    ExportIdentity,
    Manifest,
    export_path,
    tuned_path,
)
from ranker.scoring.network import PROGRAM, WEIGHTS
from ranker.scoring.scorer import BATCH, Scorer

NEWEST = 1 << 18  # training rows on which calibration is measured
CHECKED, TOLERANCE = 1000, 1e-6  # rows whose predictions a new scorer is compared on, and by how much they may differ


@dataclass(frozen=True)
class Trained:
    """A model in evaluation, the records of the log's first rows, and what is told of the training."""

    model: RankerModel
    first: Records
    told: dict[str, Any]


@dataclass(frozen=True)
class ModelDirectory:
    """The manifest is written last: without one, there is no model."""

    path: Path

    def empty_(self) -> None:
        """Takes an earlier model away."""
        self.path.mkdir(parents=True, exist_ok=True)
        for name in (MANIFEST, TRANSFORMS, PROGRAM, WEIGHTS, EXPORTED, IDS, export_path(self.path).name):
            (self.path / name).unlink(missing_ok=True)
        for path in self.path.glob(tuned_path(self.path, "*").name):
            path.unlink()
        remove_counts(self.path)

    def write(
        self,
        config: RankerConfig,
        log: ImpressionLog,
        trained: Trained,
        export: Embeddings | None,
        prepared: Path,
        id_key: bytes | None,
    ) -> None:
        """Writes everything and compares what a scorer says with the model, which it takes over.

        `prepared` holds the records that it was trained on.
        """
        expected = logits_of(trained.model, trained.first, 0)
        shutil.copyfile(prepared / FITTED, self.path / TRANSFORMS)
        if config.counts:
            shutil.copytree(prepared / DIRECTORY, self.path / DIRECTORY, copy_function=link_or_copy)
        manifest = self._manifest(config, log, trained, export, id_key)
        self._write_tables(trained.model, export, manifest)
        export_dense(trained.model, Layout.of(config), self.path)
        sync_files(self.path)
        write_json(self.path / MANIFEST, manifest.model_dump(mode="json"))
        try:
            self._require_same(first_rows(log), id_key, {PREDICTIONS[task]: found for task, found in expected.items()})
        except BaseException:
            (self.path / MANIFEST).unlink()
            raise

    def _manifest(
        self,
        config: RankerConfig,
        log: ImpressionLog,
        trained: Trained,
        export: Embeddings | None,
        id_key: bytes | None,
    ) -> Manifest:
        model, arm = trained.model, config.arms[trained.told["arm"]]
        identity = export and ExportIdentity(run_id=export.attributes["run_id"], sha256=file_digest(export.path))
        return Manifest(
            arm=trained.told["arm"],
            tasks=config.labels.tasks,
            columns=kinds(config, log),
            slots=config.slots,
            counts=config.counts,
            counted=config.labels.counted if config.counts else (),
            time_column=config.time_column,
            time_unit=config.time_unit,
            hashes=config.ids.hashes if arm.ids else None,
            vectors=tuple(vector_types(model, Layout.of(config))),
            degrees=tuple(degree_widths(model)),
            tuned=arm.finetune,
            export=identity,
            pseudonyms=None if id_key is None else key_mark(id_key),
            trained={key: trained.told[key] for key in ("rows", "first", "last", "epochs", "steps")},
            calibration=trained.told["calibration"],
            torch=torch.__version__,
        )

    def _write_tables(self, model: RankerModel, export: Embeddings | None, manifest: Manifest) -> None:
        if model.ids is not None:
            np.save(self.path / IDS, _array(model.ids.table))
        if export is not None:
            link_or_copy(export.path, export_path(self.path))
        table = table_of(model)
        for type in manifest.vectors if table is not None and manifest.tuned else ():
            assert table is not None
            np.save(tuned_path(self.path, type), _array(table.vectors[type]))

    def _require_same(self, rows: LogBlock, id_key: bytes | None, expected: dict[str, Any]) -> None:
        """Raises RuntimeError where a scorer says something else of the log's first rows than the model."""
        found = Scorer(self.path, id_key).score_block(rows)
        for name, probabilities in found.items():
            logits = expected[name][: len(probabilities)].astype(np.float64)
            worst = float(np.abs(probabilities - 1 / (1 + np.exp(-logits))).max())
            if not worst <= TOLERANCE:
                raise RuntimeError(f"{self.path}: a scorer's {name} differs by {worst:.2g} from the model's")


def first_rows(log: ImpressionLog) -> LogBlock:
    """The log's first rows with the attributes that training read."""
    block = next(block for block in log.blocks() if len(block.table))
    return LogBlock(block.part, block.first, block.table.slice(0, CHECKED))


def kinds(config: RankerConfig, log: ImpressionLog) -> dict[str, str]:
    """The columns that a scorer needs, and what training has found in them."""
    counted = [name for columns in config.counts for name in columns]
    as_numbers = {*config.numerics, *config.list_times.values(), config.time_column}
    as_numbers -= {*config.slots, *config.categoricals, *counted}
    timed = [config.time_column] if config.list_times or counted else []
    timed += config.list_times.values()
    names = dict.fromkeys([*config.slots, *timed, *config.categoricals, *config.numerics, *counted])
    found = {name: _kind(log, name, name in as_numbers) for name in names}
    of_graph = {name: "a list of text" if slot.cap else "text" for name, slot in config.derived_slots.items()}
    return {**found, **of_graph}  # the graph's ids are text, whatever those are that they are attributes of


def _kind(log: ImpressionLog, name: str, as_number: bool) -> str:
    found = [kind_of(part.types[name], as_number) for part in filled(log.parts) if name in part.types]
    return next((kind for kind in found if has_values(kind)), "null")


def calibration_of(model: RankerModel, train: Split) -> dict[str, float | None]:
    """Predicted over observed on the newest training rows, by task; None where there are no positives."""
    found: dict[str, StreamingMetrics] = {}
    for first in range(max(len(train) - NEWEST, 0), len(train), BATCH):
        records = train.read(first, BATCH)
        for task, logits in logits_of(model, records, 0).items():
            rows = judged(task, records["click"], records["conversion"])
            labels = records["click"] if task == "ctr" else records["conversion"]
            found.setdefault(task, StreamingMetrics()).add(labels[rows], logits[rows])
    return {task: metrics.report()["calibration"] for task, metrics in found.items()}


def link_or_copy(source: Path | str, destination: Path | str) -> None:
    """A hard link, where the file system has them between the two."""
    try:
        os.link(source, destination)
    except OSError:
        shutil.copyfile(source, destination)


def _array(parameter: Tensor) -> np.ndarray:
    return parameter.detach().cpu().numpy()
