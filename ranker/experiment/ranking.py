"""All arms on one split with the same seeds: prepare the log once, train each, judge them together."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from artifacts.embeddings import Embeddings
from artifacts.errors import ConfigError
from artifacts.frame import Frame
from artifacts.moment import iso
from artifacts.publish import write_json
from artifacts.source_files import Files
from ranker.config.sections import RankerConfig
from ranker.data.exports import Export, open_exports
from ranker.data.forgotten import Forgotten
from ranker.data.join import require_match_rates
from ranker.data.log import ImpressionLog
from ranker.data.prepare import Progress, prepare
from ranker.data.records import Summary
from ranker.data.windows import Windows
from ranker.experiment.reuse import digest, export_identity, log_identity
from ranker.experiment.trials import Contestant, Trials
from ranker.training import distributed

PREPARED_SHARE = 0.1  # of the whole time, for the progress bar


def rank_arms(
    config: RankerConfig,
    root: Path,
    exports: Mapping[str, Export],
    destination: Path,
    progress: Progress,
    scalars: Path,
    impressions: Frame | None,
    forgotten: Forgotten,
    id_key: bytes | None,
    files: Files | None,
) -> dict[str, Any]:
    """See `ranker.rank`."""
    contestants = line_up(config, list(exports))
    log = ImpressionLog(config, root, impressions, forgotten, id_key, files)
    windows = Windows(**distributed.from_first(lambda: asdict(Windows.of(log))))
    windows.check({name: export.window_end for name, export in exports.items()})
    opened = open_exports(exports, config)
    of_log, prepared = log_identity(config, log), destination / "prepared"
    key = digest([of_log, export_identity(opened.values())])

    def watch(step: str, fraction: float) -> None:
        progress(step, fraction * PREPARED_SHARE)

    summary = Summary(**distributed.from_first(lambda: asdict(prepare(log, windows, opened, key, prepared, watch))))
    lists = {name for name, slot in config.slots.items() if slot.cap is not None}
    require_match_rates(summary.match_rates, config.min_match_rate, lists)
    trials = Trials(config, summary, list(opened.values()), prepared, destination / "arms", scalars, of_log)
    total = len(contestants) * len(config.training.seeds)
    for index, (contestant, seed) in enumerate((c, s) for c in contestants for s in config.training.seeds):
        share = (1 - PREPARED_SHARE) / total
        trials.run(contestant, seed, progress, PREPARED_SHARE + index * share, share)
    progress("intervals", 1.0)
    description = described(summary, opened, exports)
    return distributed.from_first(lambda: concluded(trials, contestants, description, destination))


def concluded(
    trials: Trials, contestants: Sequence[Contestant], description: dict[str, Any], destination: Path
) -> dict[str, Any]:
    """Judges what was trained, and keeps the report in place of the prepared impressions."""
    report = trials.judge(contestants) | description
    write_json(destination / "report.json", report)
    shutil.rmtree(trials.prepared)
    return report


def line_up(config: RankerConfig, exports: list[str]) -> list[Contestant]:
    """Who competes. Raises ConfigError for an arm that reads an export where there is none."""
    found = []
    for name, arm in config.arms.items():
        if arm.vectors == "none":
            found.append(Contestant(name, arm, 0))
        elif not exports:
            raise ConfigError(f"ranker.vectors: arm '{name}' reads graph vectors, and there is no export")
        for index, export in enumerate(exports if arm.vectors != "none" else ()):
            found.append(Contestant(f"{name}@{export}" if index else name, arm, index))
    return found


def described(summary: Summary, opened: Mapping[str, Embeddings], exports: Mapping[str, Export]) -> dict[str, Any]:
    """What the numbers were measured on. A graph without time has no `window_end`, and no leak of it can be seen."""
    ends = {name: export.window_end for name, export in exports.items()}
    return {
        "rows": summary.counts,
        "rows_left_out": summary.left_out,
        "windows": summary.windows,
        "match_rates": summary.match_rates,
        "mended": summary.mended,
        "exports": {
            name: {key: export.attributes[key] for key in ("run_id", "operator", "anchors", "dimension")}
            | {"window_end": None if (end := ends[name]) is None else iso(end)}
            for name, export in opened.items()
        },
    }
