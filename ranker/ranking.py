"""All arms on one split with the same seeds: prepare the log once, train each, judge them together."""

import json
import shutil
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from artifacts.embeddings import Embeddings
from artifacts.errors import ConfigError
from artifacts.publish import write_json
from artifacts.section import did_you_mean
from ranker.config import RankerConfig
from ranker.exports import open_exports
from ranker.log import ImpressionLog
from ranker.prepare import Progress, prepare
from ranker.store import Summary
from ranker.trials import Contestant, Trials
from ranker.windows import Windows

PREPARED_SHARE = 0.1  # of the whole time, for the progress bar


def rank_arms(
    config: RankerConfig,
    root: Path,
    exports: dict[str, Path],
    graph_window_end: int | None,
    destination: Path,
    arms: Sequence[str],
    progress: Progress,
) -> dict[str, Any]:
    """See `ranker.rank`."""
    contestants = line_up(config, list(exports), arms)
    log = ImpressionLog(config, root)
    windows = Windows.of(log)
    windows.check(graph_window_end)
    opened = open_exports(exports, config)
    key = identity(config, log, opened)
    forget_other_work(destination, key)
    prepared = destination / "prepared"
    summary = prepare(log, windows, opened, key, prepared, lambda text, done: progress(text, done * PREPARED_SHARE))
    trials = Trials(config, summary, list(opened.values()), prepared, destination / "arms")
    total = len(contestants) * len(config.training.seeds)
    for index, (contestant, seed) in enumerate((c, s) for c in contestants for s in config.training.seeds):
        share = (1 - PREPARED_SHARE) / total
        trials.run(contestant, seed, progress, PREPARED_SHARE + index * share, share)
    progress("intervals", 1.0)
    report = trials.judge(contestants) | described(summary, opened, graph_window_end)
    write_json(destination / "report.json", report)
    shutil.rmtree(prepared)
    return report


def line_up(config: RankerConfig, exports: Sequence[str], arms: Sequence[str]) -> list[Contestant]:
    """Who competes. Raises ConfigError for an arm that does not exist, or that reads an export where there is none."""
    lines = [
        f"--arms: '{arm}' is not an arm{did_you_mean(arm, list(config.arms))}" for arm in arms if arm not in config.arms
    ]
    found = []
    for name in arms or config.arms:
        if name not in config.arms:
            continue
        arm = config.arms[name]
        if arm.vectors == "none":
            found.append(Contestant(name, arm, 0))
        elif not exports:
            lines.append(f"ranker.vectors: arm '{name}' reads graph vectors, and there is no export")
        for index, export in enumerate(exports if arm.vectors != "none" else ()):
            found.append(Contestant(f"{name}@{export}" if index else name, arm, index))
    if lines:
        raise ConfigError(*lines)
    return found


def identity(config: RankerConfig, log: ImpressionLog, exports: dict[str, Embeddings]) -> str:
    """A digest of all that predictions follow from."""
    files = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in log.files]
    vectors = [(name, e.path.stat().st_size, e.path.stat().st_mtime_ns) for name, e in exports.items()]
    text = json.dumps([config.model_dump(mode="json"), files, vectors], sort_keys=True)
    return sha256(text.encode()).hexdigest()


def forget_other_work(destination: Path, key: str) -> None:
    """Throws away what an earlier call left that was made from something else."""
    path = destination / "made_from.json"
    if not path.exists() or json.loads(path.read_text())["key"] != key:
        for name in ("prepared", "arms"):
            shutil.rmtree(destination / name, ignore_errors=True)
        write_json(path, {"key": key})


def described(summary: Summary, exports: dict[str, Embeddings], graph_window_end: int | None) -> dict[str, Any]:
    """What the numbers were measured on."""
    return {
        "rows": summary.counts,
        "windows": summary.windows,
        "graph_window_end": graph_window_end,
        "match_rates": summary.match_rates,
        "exports": {
            name: {key: export.attributes[key] for key in ("run_id", "operator", "anchors", "dimension")}
            for name, export in exports.items()
        },
    }
