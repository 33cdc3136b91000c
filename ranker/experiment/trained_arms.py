"""The arms of a finished ranking, asked about rows that were not in its log."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.errors import DataError
from artifacts.sources.source_files import Files
from ranker.config.sections import RankerConfig
from ranker.data.ids.exports import Export, open_exports
from ranker.data.log.impression_log import ImpressionLog
from ranker.data.log.windows import Windows
from ranker.data.prepare import Preparation, Progress, prepare
from ranker.data.records import Records
from ranker.evaluation.predictions import logits_of
from ranker.experiment.ranking import KEPT_PREPARED, line_up, threads
from ranker.experiment.reuse import kept_place, log_identity, prepared_identity
from ranker.experiment.trials import Contestant, Trials
from ranker.model.ranker_model import RankerModel
from ranker.processes import group
from ranker.training.weights import load_

Rates = NDArray[np.float64]
TEST = 2  # the place of the test split


class TrainedArms:
    """Models of every contestant and seed, with transforms that are fitted on the log's training rows as theirs were.

    `ranking` is where `rank` has worked with the same config, log and exports, `prepared` where it keeps records.
    """

    def __init__(
        self,
        config: RankerConfig,
        root: Path,
        exports: Mapping[str, Export],
        ranking: Path,
        prepared: Path,
        progress: Progress,
        files: Files | None,
    ) -> None:
        self._config, self._root = config.of_compared(), root
        self._log = ImpressionLog(self._config, root, files=files)
        self._windows = Windows.of(self._log)
        opened = open_exports(exports, self._config)
        self._preparation = Preparation(self._log, self._windows, opened)
        self._preparation.fit(progress)
        key = prepared_identity(self._config, self._log, opened.values())
        records = kept_place(prepared, key, KEPT_PREPARED)
        summary = prepare(self._log, self._windows, opened, key, records, progress)
        self.test_rows = summary.counts["test"]["rows"]
        of_log, places = log_identity(self._config, self._log), (records, ranking / "arms", ranking)
        trials = Trials(self._config, summary, list(opened.values()), *places, of_log, lambda report: None)
        self._models = {
            contestant.name: [
                (_loaded(trials, contestant, seed), contestant.export) for seed in self._config.training.seeds
            ]
            for contestant in line_up(self._config, list(exports))
        }

    def rows(self, numbers: NDArray[np.int64]) -> Iterator[pa.Table]:
        """Test rows of the log by their numbers (R,), ascending and perhaps repeated, with all columns, in blocks."""
        first = 0
        for block in self._log.blocks(list(self._log.parts[0].types)):
            test = np.flatnonzero(self._windows.split(self._log.times(block)) == TEST)
            begin, end = np.searchsorted(numbers, [first, first + len(test)])
            if end > begin:
                yield block.table.take(pa.array(test[numbers[begin:end] - first]))
            first += len(test)

    def click_rates(self, table: pa.Table) -> dict[str, list[Rates]]:
        """Predicted click rates (N,) of the rows of a table with the log's columns, by contestant, one a seed."""
        whole = self._config.model_copy(update={"where": None})
        blocks = ImpressionLog(whole, self._root, table).blocks()
        records = np.concatenate([self._preparation.records(block) for block in blocks])
        with threads(self._config.threads):
            return {
                name: [_rates(model, records, export) for model, export in models]
                for name, models in self._models.items()
            }


def _loaded(trials: Trials, contestant: Contestant, seed: int) -> RankerModel:
    """Raises DataError where the ranking left no model of clicks."""
    model = RankerModel(trials.config, contestant.arm, trials.summary, trials.export(contestant))
    path = trials.place(contestant, seed) / "best_ctr.pt"
    if not path.is_file():
        raise DataError(f"{path}: missing, expected a model of clicks; make the ranking anew")
    device = group.device(trials.config.device)
    load_(model, path, device)
    return model.to(device).eval()


def _rates(model: RankerModel, records: Records, export: int) -> Rates:
    size = model.predicted_rows
    batches = (records[first : first + size] for first in range(0, len(records), size))
    logits = np.concatenate([logits_of(model, batch, export)["ctr"] for batch in batches])
    return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64))))
