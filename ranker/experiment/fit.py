"""The chosen arm, trained on all days and left as a directory that a scorer opens."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from artifacts.embeddings import Embeddings
from artifacts.errors import ConfigError
from ranker.config.arms import ArmConfig
from ranker.config.sections import RankerConfig
from ranker.data.ids.exports import Export, open_exports
from ranker.data.ids.join import require_match_rates
from ranker.data.log.impression_log import ImpressionLog
from ranker.data.log.windows import Windows
from ranker.data.prepare import Progress, prepare
from ranker.data.records import Split, Summary
from ranker.experiment.model_directory import CHECKED, ModelDirectory, Trained, calibration_of
from ranker.experiment.ranking import threads
from ranker.experiment.reuse import digest, export_identity, log_identity
from ranker.model.ranker_model import RankerModel
from ranker.training.trainer import Training

PREPARED_SHARE, TRAINED_SHARE, MEASURED_SHARE = 0.2, 0.9, 0.95  # of the whole time, for the progress bar, by the end
WORK = ("prepared", "training")  # in the directory, while it is made
NAME = 16  # hexadecimal digits of a digest that name a directory


@dataclass(frozen=True)
class Fit:
    """One arm on all days of a log, made in `directory`."""

    config: RankerConfig
    name: str
    arm: ArmConfig
    export: Embeddings | None
    log: ImpressionLog
    windows: Windows
    directory: Path

    @classmethod
    def of(cls, config: RankerConfig, log: ImpressionLog, export: Export | None, directory: Path) -> "Fit":
        """Raises ConfigError for a config that names no arm, an arm without its export, and a graph that has seen the
        labels, DataError for a broken export."""
        name, arm = chosen_arm(config)
        if arm.vectors != "none" and export is None:
            raise ConfigError(f"ranker.vectors: arm '{name}' reads graph vectors, and there is no export")
        read = {} if export is None or arm.vectors == "none" else {str(export.path): export}
        windows = all_days(Windows.of(log))
        windows.check({path: found.window_end for path, found in read.items()})
        opened = next(iter(open_exports(read, config).values()), None)
        return cls(config, name, arm, opened, log, windows, directory)

    @property
    def identity(self) -> str:
        """A digest of all that the model follows from."""
        exports = [self.export] if self.export else []
        seed = self.config.training.seeds[0]
        of_log = log_identity(self.config, self.log)
        return digest([of_log, seed, self.name, self.arm.model_dump(), export_identity(exports)])

    def prepared(self, progress: Progress) -> Summary:
        """The records of all rows, as training rows. Raises DataError as `prepare`, and for too few known ids."""
        exports = {self.name: self.export} if self.export else {}
        found = prepare(
            self.log, self.windows, exports, self.identity, self.directory / WORK[0], progress, splits=("train",)
        )
        lists = {slot for slot, config in self.config.slots.items() if config.cap is not None}
        require_match_rates(found.match_rates, self.config.min_match_rate, lists)
        return found

    def trained(self, summary: Summary, progress: Progress) -> Trained:
        """For as many epochs as the config says; if it is killed, the same call resumes it."""
        directory = self.directory / WORK[1] / self.identity[:NAME]  # what was begun with other settings lies beside it
        directory.mkdir(parents=True, exist_ok=True)
        train, seed = Split.of(self.directory / WORK[0], "train", summary), self.config.training.seeds[0]
        torch.manual_seed(seed)
        model = RankerModel(self.config, self.arm, summary, self.export)

        def watch(fraction: float, last: dict[str, Any]) -> None:
            what = f"{self.name} on all days" if fraction < 1 else f"the intercept of {self.name}"
            progress(what, PREPARED_SHARE + (TRAINED_SHARE - PREPARED_SHARE) * fraction)

        training = Training(model, self.config, 0, seed, directory)
        with threads(self.config.threads):
            steps = training.run(train, None, watch).step
        progress("calibration on the newest rows", TRAINED_SHARE)
        return Trained(model.cpu().eval(), train.read(0, CHECKED), self._facts(summary, model, steps, train))

    def _facts(self, summary: Summary, model: RankerModel, steps: int, train: Split) -> dict[str, Any]:
        return {
            "arm": self.name,
            "rows": summary.counts["train"],
            "rows_left_out": summary.left_out,
            "first": summary.windows["first"],
            "last": summary.windows["last"],
            "epochs": self.config.training.epochs,
            "steps": steps,
            "parameters": model.budget(),
            "calibration": calibration_of(model.eval(), train),
            "match_rates": summary.match_rates.get(self.name, {}),
            "mended": summary.mended,
        }


def fit_arm(
    config: RankerConfig,
    log: ImpressionLog,
    export: Export | None,
    directory: Path,
    progress: Progress,
    id_key: bytes | None,
) -> dict[str, Any]:
    """See `ranker.fit`; `log` is that of the config."""
    made = ModelDirectory(directory)
    made.empty_()
    fit = Fit.of(config, log, export, directory)
    summary = fit.prepared(lambda step, fraction: progress(step, fraction * PREPARED_SHARE))
    trained = fit.trained(summary, progress)
    progress("the scorer is written, and compared with the model", MEASURED_SHARE)
    made.write(config, log, trained, fit.export, directory / WORK[0], id_key)
    for work in WORK:
        shutil.rmtree(directory / work)
    return trained.told


def chosen_arm(config: RankerConfig) -> tuple[str, ArmConfig]:
    """Raises ConfigError where the config does not say which."""
    if config.fit is None:
        raise ConfigError('ranker.fit: missing, expected for example { arm: "attention" }')
    return config.fit.arm, config.arms[config.fit.arm]


def all_days(windows: Windows) -> Windows:
    """The same without days for validation and test."""
    end = windows.last + 1
    return replace(windows, valid_from=end, test_from=end)
