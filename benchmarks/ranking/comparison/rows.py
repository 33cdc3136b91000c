"""The rows that FuxiCTR's models read: the impressions as the ranker prepares them, as FuxiCTR's files.

    python -m benchmarks.ranking.comparison.rows CONFIG --root . --run RUN OUT

    OUT/prepared/                       records of the ranker, kept: they also tell labels and users of the test rows
    OUT/<task>/{train,valid,test}.npz   a column each: number_*, category_*, id_* and age_* of slots, label
    OUT/<task>/features.json            FuxiCTR's feature map; vectors.npz and feature_vocab.json are of the export

Categoricals and numerics are encoded as for our arms. An id is its place among the ids of the training rows, from 1 on;
then comes the place of all others, and beyond it those of them that the export knows, for models that read its vectors.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifacts.embeddings import Embeddings
from benchmarks.ranking.comparison.data import ranker_config
from ranker.config.sections import RankerConfig
from ranker.data.ids.attributes import Attributes
from ranker.data.ids.exports import Export, open_exports
from ranker.data.ids.join import NO_ID
from ranker.data.ids.slots import Layout, Slot
from ranker.data.log.forgotten import Forgotten
from ranker.data.log.impression_log import ImpressionLog
from ranker.data.log.lists import AGE_BUCKETS
from ranker.data.log.windows import Windows
from ranker.data.prepare import prepare
from ranker.data.records import SPLITS, Records, Split, Summary, judged, positive
from ranker.model.tables.kge_table import KgeTable

Array = NDArray[Any]
PADDING, FIRST = 0, 1
SAMPLING_SEED = 0


class Vocabulary:
    """Ids (hashes) of one space to places: of training rows, then one for all others, then those an export knows."""

    def __init__(self, train: Array, later: Array, later_rows: Array) -> None:
        self.trained = np.unique(train[train != NO_ID])
        known = later[(later_rows >= 0) & (later != NO_ID)]
        self.known = np.setdiff1d(known, self.trained)
        self.other = FIRST + len(self.trained)

    @property
    def size(self) -> int:
        """Places in all."""
        return self.other + 1 + len(self.known)

    def places(self, hashes: Array) -> Array:
        """(...) -> (...) int32, PADDING for no id."""
        found = np.full(hashes.shape, self.other, np.int32)
        for ids, first in ((self.trained, FIRST), (self.known, self.other + 1)):
            if len(ids):
                at = np.searchsorted(ids, hashes).clip(max=len(ids) - 1)
                found = np.where(ids[at] == hashes, first + at, found)
        return np.where(hashes == NO_ID, PADDING, found).astype(np.int32)


class FuxiRows:
    """All splits in memory, and the columns and feature map that follow from them."""

    def __init__(self, config: RankerConfig, summary: Summary, prepared: Path, export: Embeddings | None) -> None:
        self.config, self.summary, self.export = config, summary, export
        splits = {name: Split.of(prepared, name, summary) for name in SPLITS}
        self.records = {name: split.read(0, len(split)) for name, split in splits.items()}
        slots = Layout.of(config).slots
        self.vocabularies = {
            space: self._vocabulary([s for s in slots if s.space == space]) for space in _spaces(slots)
        }
        # An id that no second training row has says nothing of any other row.
        self.slots = [slot for slot in slots if self._repeats(slot)]

    @property
    def numerics(self) -> list[str]:
        return [*self.config.numerics, *self.config.count_features]

    def _vocabulary(self, slots: list[Slot]) -> Vocabulary:
        def ids(name: str) -> tuple[Array, Array]:
            records = self.records[name]
            rows = records["rows"][:, 0] if self.export else np.full_like(records["hashes"], -1, np.int32)
            return tuple(np.concatenate([x[:, s.tokens].ravel() for s in slots]) for x in (records["hashes"], rows))

        later = [np.concatenate(pair) for pair in zip(ids("valid"), ids("test"), strict=True)]
        return Vocabulary(ids("train")[0], *later)

    def _repeats(self, slot: Slot) -> bool:
        ids = self.records["train"]["hashes"][:, slot.tokens]
        return len(np.unique(ids[ids != NO_ID])) < (ids != NO_ID).sum()

    def columns(self, records: Records) -> dict[str, Array]:
        """Arrays (N,), of lists (N, W)."""
        numbers = {f"number_{name}": records["numerics"][:, i] for i, name in enumerate(self.numerics)}
        found = {name: np.nan_to_num(values, nan=0.0) for name, values in numbers.items()}
        found |= {f"category_{name}": records["categoricals"][:, i] for i, name in enumerate(self.config.categoricals)}
        for slot in self.slots:
            places = self.vocabularies[slot.space].places(records["hashes"][:, slot.tokens])
            found[f"id_{slot.name}"] = places if slot.is_list else places[:, 0]
            if slot.first_age is not None:
                found[f"age_{slot.name}"] = records["ages"][:, slot.first_age]
        return found

    def features(self) -> dict[str, dict[str, Any]]:
        """FuxiCTR's specification of each column."""
        found: dict[str, dict[str, Any]] = {f"number_{name}": {"type": "numeric"} for name in self.numerics}
        for name, width in zip(self.config.categoricals, self.summary.vocabularies, strict=True):
            found[f"category_{name}"] = {"type": "categorical", "vocab_size": width}
        first: dict[str, str] = {}
        for slot in self.slots:
            name, known = f"id_{slot.name}", self.vocabularies[slot.space]
            found[name] = {"type": "categorical", "padding_idx": PADDING, "oov_idx": known.other}
            found[name] |= {"vocab_size": known.size, "graph": slot.type is not None, "side": slot.side}
            if slot.is_list:
                found[name] |= {"type": "sequence", "max_len": slot.width}
            if first.setdefault(slot.space, name) != name:
                found[name]["share_embedding"] = first[slot.space]
            if slot.first_age is not None:
                found[f"age_{slot.name}"] = {"type": "categorical", "vocab_size": AGE_BUCKETS + 1}
        return {name: {"source": "", **spec} for name, spec in found.items()}

    def write(self, task: str, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        for name, records in self.records.items():
            rows = judged(task, records["click"], records["conversion"])
            if name == "train":
                rows = rows & self._sampled(records)
            kept = records[rows]
            label = kept["click" if task == "ctr" else "conversion"]
            np.savez(directory / f"{name}.npz", label=label, **self.columns(kept))
        spec = {"features": self.features(), "keep_negatives": self._share(task)}
        (directory / "features.json").write_text(json.dumps(spec))

    def _share(self, task: str) -> float:
        """Of the rows with label 0 that are trained on: clicks are all kept, so CVR among them is of all rows."""
        return self.config.training.keep_negatives if task == "ctr" or not self.config.labels.click else 1.0

    def _sampled(self, records: Records) -> Array:
        rng = np.random.default_rng(SAMPLING_SEED)
        return positive(records) | (rng.random(len(records)) < self.config.training.keep_negatives)

    def write_vectors(self, directory: Path) -> None:
        """Of the ids that the export knows, at the scale at which our arms read them, by place."""
        if self.export is None:
            return
        scales = KgeTable(self.export, self._types(), finetune=False).scales
        vocabulary: dict[str, dict[str, int]] = {"": {}}  # FuxiCTR looks at the second feature's keys for their type
        for slot in (slot for slot in self.slots if slot.type is not None):
            places, rows = self._known(slot.space)
            vectors = np.asarray(self.export.vectors(slot.type)[:], np.float32)[rows] * scales[str(slot.type)]
            np.savez(directory / f"id_{slot.name}.npz", key=places.astype(str), value=vectors)
            vocabulary[f"id_{slot.name}"] = {str(place): int(place) for place in places}
        (directory / "feature_vocab.json").write_text(json.dumps(vocabulary))

    def _types(self) -> list[str]:
        return sorted({str(slot.type) for slot in self.slots if slot.type is not None})

    def _known(self, space: str) -> tuple[Array, Array]:
        """Places (K,) of a space's ids that the export knows, and their rows in it."""
        found: dict[int, int] = {}
        for slot in (slot for slot in self.slots if slot.space == space):
            for records in self.records.values():
                rows = records["rows"][:, 0, slot.tokens].ravel()
                places = self.vocabularies[space].places(records["hashes"][:, slot.tokens]).ravel()
                distinct, at = np.unique(places[rows >= 0], return_index=True)
                found |= dict(zip(distinct.tolist(), rows[rows >= 0][at].tolist(), strict=True))
        return np.fromiter(found, np.int64, len(found)), np.fromiter(found.values(), np.int64, len(found))


def _spaces(slots: tuple[Slot, ...]) -> Iterator[str]:
    yield from dict.fromkeys(slot.space for slot in slots)


def prepared_rows(config: RankerConfig, root: Path, run: Path | None, directory: Path) -> Summary:
    """Prepares the log in `directory`/prepared as the ranker does, unless it is there."""
    exports = {} if run is None else {run.name: Export.of_run(run)}
    log = ImpressionLog(config, root, attributes=Attributes.of(config, exports, Forgotten()))
    return prepare(
        log, Windows.of(log), open_exports(exports, config), "", directory / "prepared", lambda step, done: None
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("config", type=Path)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--run", type=Path, help="a run with an export")
    arguments.add_argument("--root", type=Path, default=Path(), help="where relative paths start (here)")
    options = arguments.parse_args()
    config = ranker_config(options.config)
    summary = prepared_rows(config, options.root, options.run, options.out)
    export = None if options.run is None else Embeddings(Export.of_run(options.run).path)
    rows = FuxiRows(config, summary, options.out / "prepared", export)
    for task in config.labels.tasks:
        rows.write(task, options.out / task)
        rows.write_vectors(options.out / task)


if __name__ == "__main__":
    main()
