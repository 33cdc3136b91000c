"""A published model, opened to score rows: what `transra fit` makes, without anything that trains."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from artifacts.embeddings import Embeddings
from artifacts.errors import ConfigError
from artifacts.pseudonyms import key_mark
from ranker.data.ids.join import ABSENT
from ranker.data.log.block import LogBlock, with_lists, with_pseudonyms
from ranker.data.tabular.counts import Counts
from ranker.scoring.columns import Columns, block_of
from ranker.scoring.encoder import Encoder
from ranker.scoring.inputs import Inputs
from ranker.scoring.manifest import PREDICTIONS, Manifest, export_path, fitted_of
from ranker.scoring.network import Network
from ranker.scoring.tables import LEAST, Tables
from ranker.scoring.times import request_times

BATCH = 1024  # rows that go through the network together: what stays in the cache

Predictions = dict[str, NDArray[np.float64]]


class Scorer:
    """Predicts clicks and conversions.

    Opening reads the structure of the files and the network; tables stay mapped. One may be used by several threads.

    >>> scorer = Scorer("runs/demo_rank/latest/scorer")
    >>> scorer.score({"user_id": ["u1", "u1"], "pin_id": ["p1", "p2"], ...})["click"]
    """

    def __init__(self, directory: Path | str, id_key: bytes | None = None) -> None:
        """`id_key` is the key of the graph's pseudonyms, where it has such in place of ids.

        Raises DataError for a directory that holds no whole model, ConfigError for a missing key or another one.
        """
        self.directory = Path(directory).resolve()  # `latest` may move meanwhile
        self.manifest = Manifest.of(self.directory)
        self._key = _required_key(self.directory, self.manifest, id_key)
        export = _opened(self.directory, self.manifest)
        self._encoder = Encoder(self.manifest, fitted_of(self.directory), export)
        self._tables = Tables(self.directory, self.manifest, export)
        self._counts = _counts_of(self.directory, self.manifest)
        self._network = Network(self.directory)

    @property
    def columns(self) -> Mapping[str, str]:
        """The columns that `score` needs, each with the kind of its values, in words."""
        return self.manifest.columns

    def wanted(self, names: Collection[str]) -> Mapping[str, str]:
        """`columns`, and of `names` those that stand in the place of what `ranker.counts` made."""
        counts = () if self._counts is None else self._counts.features
        return {**self.columns, **{name: "a number" for name in counts if name in names}}

    def score(self, columns: Columns, graph: bool = True) -> Predictions:
        """The probabilities of N rows: `click` (N,), and `conversion` (N,), that of a conversion given a click.

        What the model was not trained for is not there, and where the log knew of no clicks a conversion is one of an
        impression. `columns` are arrays or lists by name, a pandas DataFrame, an Arrow table or whatever has
        `__arrow_c_stream__`; columns beside `self.columns` are not looked at. Ids and categories that training has not
        seen, nulls and empty lists count as there. What `ranker.counts` counted is what the log had said by the
        beginning of each row's day, unless there is a column of that name. Without `graph`, the same model is asked as
        if the graph knew none of the ids: what its vectors add is the difference. Raises DataError, with the column,
        for anything else.
        """
        return self.score_block(self._block(columns), graph)

    def attention(self, columns: Columns) -> dict[str, NDArray[np.float32]]:
        """What the model attends to in N rows: by list slot (N, H, 1 + L), the first for the learned vector of an empty
        list, and `context` (N, H, T) over the slots that the graph knows, those of one id before lists.

        {} for an arm without attention, and for a model of before its weights were exported.
        """
        parts = []
        for rows, inputs in self._inputs(self._block(columns), graph=True):
            with torch.inference_mode():
                parts.append({name: found[:rows].numpy() for name, found in self._network.attention(inputs).items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in (parts[0] if parts else ())}

    def _block(self, columns: Columns) -> LogBlock:
        return self.with_graph_ids(block_of(columns, self.wanted))

    def with_graph_ids(self, block: LogBlock) -> LogBlock:
        """Rows with lists in columns that have none, and pseudonyms in place of ids, where the graph has such."""
        slots = self.manifest.slots
        return with_pseudonyms(with_lists(block, slots), slots, self._key)

    def score_block(self, block: LogBlock, graph: bool = True) -> Predictions:
        """The same of rows whose columns are there, of their kinds, and whose ids are the graph's."""
        parts = list(self._batches(block, graph))
        return {
            PREDICTIONS[task]: np.concatenate([part[task] for part in parts] or [np.empty(0)])
            for task in self.manifest.tasks
        }

    def _batches(self, block: LogBlock, graph: bool) -> Iterator[dict[str, NDArray[np.float64]]]:
        for rows, inputs in self._inputs(block, graph):
            with torch.inference_mode():
                logits = self._network(inputs)
            yield {task: _probabilities(found[:rows].numpy()) for task, found in logits.items()}

    def _inputs(self, block: LogBlock, graph: bool) -> Iterator[tuple[int, Inputs]]:
        """Batches: how many rows each has, and what the network reads, of LEAST rows or more."""
        if self._counts is not None:
            block = self._counts.joined(block, request_times(block, self.manifest))
        for first in range(0, len(block.table), BATCH):
            rows = LogBlock(block.part, block.first + first, block.table.slice(first, BATCH))
            encoded = self._encoder.encode(rows)
            if not graph:
                encoded.rows.fill(ABSENT)
            yield len(encoded), self._tables.inputs(encoded.at_least(LEAST))


def _opened(directory: Path, manifest: Manifest) -> Embeddings | None:
    """The export, if the model reads one."""
    if manifest.export is None:
        return None
    export = Embeddings(export_path(directory))
    for type in manifest.vectors:
        export.ids(type)  # looks through the offsets of ids now, and not in the first call
    return export


def _counts_of(directory: Path, manifest: Manifest) -> Counts | None:
    return Counts.load(manifest.counts, manifest.counted, directory) if manifest.counts else None


def _probabilities(logits: NDArray[Any]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.exp(-np.logaddexp(0, -logits.astype(np.float64)))
    return found


def _required_key(directory: Path, manifest: Manifest, key: bytes | None) -> bytes | None:
    """Raises ConfigError unless the key is the one that the model was trained with."""
    if manifest.pseudonyms is None:
        return None
    if key is None or key_mark(key) != manifest.pseudonyms:
        found = "no key" if key is None else "another key"
        raise ConfigError(f"{directory}: its ids are pseudonyms, found {found}; expected the one of graph.ids")
    return key
