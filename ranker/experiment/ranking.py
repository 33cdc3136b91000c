"""All arms on one split with the same seeds: prepare the log once, train each, judge them together."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from artifacts.embeddings import Embeddings
from artifacts.errors import ConfigError
from artifacts.files.publish import write_json
from artifacts.moment import iso
from artifacts.sources.frame import Frame
from artifacts.sources.source_files import Files
from ranker.config.sections import RankerConfig
from ranker.data.ids.attributes import Attributes
from ranker.data.ids.exports import Export, open_exports
from ranker.data.ids.join import require_match_rates
from ranker.data.log.forgotten import Forgotten
from ranker.data.log.impression_log import ImpressionLog
from ranker.data.log.windows import Windows
from ranker.data.prepare import Progress, prepare
from ranker.data.records import Summary
from ranker.experiment.reuse import (
    Earlier,
    digest,
    export_identity,
    kept_place,
    log_identity,
    place_of,
    prepared_identity,
)
from ranker.experiment.trials import Contestant, Trials
from ranker.processes import group
from ranker.processes.messages import from_first, require_same
from ranker.training.reports import ImpressionsPrepared, Report

PREPARED_SHARE, JUDGED_SHARE = 0.1, 0.05  # of the whole time, for the progress bar
KEPT_PREPARED = 2  # logs, as they were encoded for some columns and exports, that stay beside each other


def rank_arms(
    config: RankerConfig,
    root: Path,
    exports: Mapping[str, Export],
    destination: Path,
    progress: Progress,
    scalars: Path,
    prepared: Path,
    tell: Callable[[Report], None],
    impressions: Frame | None,
    forgotten: Forgotten,
    id_key: bytes | None,
    files: Files | None,
    earlier: tuple[Path, Mapping[str, str]] | None,
) -> dict[str, Any]:
    """See `ranker.rank`."""
    config = config.of_compared()
    contestants = line_up(config, list(exports))
    attributes = Attributes.of(config, exports, forgotten)
    log = ImpressionLog(config, root, impressions, forgotten, id_key, files, attributes)
    windows = Windows(**from_first(lambda: asdict(Windows.of(log))))
    windows.check({name: export.window_end for name, export in exports.items()})
    opened = open_exports(exports, config)
    key = prepared_identity(config, log, opened.values())
    if group.count() > 1:
        require_same(compared(config, log, opened))
    records = place_of(prepared, key)

    def watch(step: str, fraction: float) -> None:
        progress(step, fraction * PREPARED_SHARE)

    def encoded() -> dict[str, Any]:
        reused = Summary.load(kept_place(prepared, key, KEPT_PREPARED), key) is not None
        found = prepare(log, windows, opened, key, records, watch)
        tell(ImpressionsPrepared(sum(counts["rows"] for counts in found.counts.values()), reused))
        return asdict(found)

    summary = Summary(**from_first(encoded))
    lists = {name for name, slot in config.slots.items() if slot.cap is not None}
    require_match_rates(summary.match_rates, config.min_match_rate, lists)
    places = (records, destination / "arms", scalars)
    others = None if earlier is None else Earlier(*earlier)
    trials = Trials(config, summary, list(opened.values()), *places, log_identity(config, log), tell, others)
    total = len(contestants) * len(config.training.seeds)
    with threads(config.threads):
        for index, (contestant, seed) in enumerate((c, s) for c in contestants for s in config.training.seeds):
            share = (1 - PREPARED_SHARE - JUDGED_SHARE) / total
            trials.run(contestant, seed, progress, PREPARED_SHARE + index * share, share)
    description = described(summary, opened, exports)

    def watch_judging(step: str, fraction: float) -> None:
        progress(step, 1 - JUDGED_SHARE * (1 - fraction))

    return from_first(lambda: concluded(trials, contestants, watch_judging, description, destination))


def compared(config: RankerConfig, log: ImpressionLog, opened: Mapping[str, Embeddings]) -> dict[str, Any]:
    """What all processes of a ranking must agree on."""
    settings = config.model_dump(mode="json", exclude={"threads", "device"})
    versions = {name: version(name) for name in ("torch", "numpy")}
    exports = {name: export_identity([export]) for name, export in opened.items()}
    return {"ranker": settings, "impressions": digest(log.identity()), "vectors": exports, "versions": versions}


def concluded(
    trials: Trials,
    contestants: Sequence[Contestant],
    progress: Progress,
    description: dict[str, Any],
    destination: Path,
) -> dict[str, Any]:
    """Judges what was trained, and keeps the report."""
    report = trials.judge(contestants, progress) | description
    write_json(destination / "report.json", report)
    return report


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Lets torch compute in so many threads, in its own number for None."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
        "counts": summary.counted,
        "windows": summary.windows,
        "match_rates": summary.match_rates,
        "mended": summary.mended,
        "exports": {
            name: {key: export.attributes[key] for key in ("run_id", "operator", "anchors", "dimension")}
            | {"window_end": None if (end := ends[name]) is None else iso(end)}
            for name, export in opened.items()
        },
    }
