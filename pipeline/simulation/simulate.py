"""`transra simulate`: people of the demo world meet an auction, and every trained arm ranks the same requests.

<run>/simulation.json   what came out; a simulation, and called so wherever it is quoted
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from artifacts.errors import ConfigError, DataError
from artifacts.files.publish import write_json
from demo_world.auctions.requests import CANDIDATES
from demo_world.auctions.simulation import ORACLE
from demo_world.generation import existing_world
from pipeline.running.runner import find_done, targets, why_stale
from pipeline.simulation.candidate_files import read_scores, write_candidates
from pipeline.simulation.requests import Arms, Asked, requests_of, simulated
from pipeline.simulation.table import table
from pipeline.stages import STAGES
from pipeline.stages.earlier.compared_runs import compared_runs, require_exports_intact
from pipeline.workspace.context import Context
from pipeline.workspace.lock import locked
from pipeline.workspace.owner import require_own
from pipeline.workspace.workspace import PREPARED, Run
from ranker import RankerConfig, export_of, impression_files, trained_arms

SIMULATION = "simulation.json"
BASELINE = "none"
LABEL = "simulation: people, auction and answers are those of the demo world"


@dataclass(frozen=True)
class Files:
    """Where candidates are written to, if anywhere, and scores of others' models, by their names."""

    candidates: Path | None = None
    scores: Mapping[str, Path] = field(default_factory=dict)


def simulate(context: Context, asked: Asked, files: Files, only_check: bool) -> dict[str, Any]:
    """Simulates with the trainings of the config's ranking, and keeps the result beside it; or writes the candidates.

    Raises ConfigError for data that are no demo world and for a ranking that is not up to date, DataError for scores
    of other requests.
    """
    config = _config(context)
    require_own(context)
    directory = _world_directory(context, config)
    run = _ranked(context)
    if taken := sorted({*config.arms, ORACLE} & files.scores.keys()):
        raise ConfigError(f"--scores: '{taken[0]}' is an arm; expected another name")
    if only_check:
        return {"run": run.id, "world": str(directory)}
    with locked(context.workspace.path), context.console.steps("simulate") as progress:
        world, arms = existing_world(directory), _arms(context, run, config, progress)
        if files.candidates is not None:
            return _candidates(context, files.candidates, config, requests_of(world, arms, asked))
        given = {name: read_scores(name, path, asked.requests) for name, path in files.scores.items()}
        simulation = simulated(world, arms, asked, given, progress)
        report = {
            "label": LABEL,
            "run": run.id,
            "world": world.parameters.as_dict(),
            "requests": simulation.requests,
            "candidates": CANDIDATES,
            "reserve": asked.reserve,
            "seed": asked.seed,
            "baselines": (baselines := [BASELINE, *given]),
            **simulation.report(baselines, config.bootstrap, asked.seed),
        }
        write_json(run.path / SIMULATION, report)
    context.console.say(f"{table(report)}\nsimulate: -> {run.path / SIMULATION}")
    return {"run": run.id, "simulation": report}


def _candidates(context: Context, path: Path, config: RankerConfig, found: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
    labels = (config.labels.click, config.labels.conversion, config.labels.conversion_time, "impression_id")
    rows = write_candidates(path, (table for _, table in found), [name for name in labels if name is not None])
    context.console.say(f"simulate: {rows:,} candidates to be scored -> {path}")
    return {"candidates": str(path), "rows": rows}


def _config(context: Context) -> RankerConfig:
    config = STAGES["rank"].section(context)
    assert isinstance(config, RankerConfig)
    if context.config.graph.ids or context.config.graph.forget:
        raise ConfigError("graph.ids, graph.forget: a simulation asks by the world's own ids; expected neither")
    if config.counts or any(slot.of for slot in config.slots.values()):
        raise ConfigError("ranker.counts, ranker.slots: a simulation asks about new rows; expected neither")
    if BASELINE not in config.arms:
        raise ConfigError(f"ranker.compare: a simulation compares with arm '{BASELINE}'; expected it among them")
    if config.labels.click is None:
        raise ConfigError("ranker.labels.click: missing, expected it: a simulation ranks by predicted clicks")
    return config


def _world_directory(context: Context, config: RankerConfig) -> Path:
    """Where the world lies whose impressions the config reads. Raises ConfigError for other data."""
    try:
        files = impression_files(config, context.root)
    except DataError as error:
        raise ConfigError(*error.lines) from error
    found = {path.resolve().parent.parent for path in files}
    if len(found) != 1 or not (next(iter(found)) / "world.json").is_file():
        raise ConfigError(
            f"ranker.impressions: {', '.join(config.patterns)}: no demo world (no world.json beside the log); "
            "expected the impressions of `transra demo-data`, whose true rates are known"
        )
    return found.pop()


def _ranked(context: Context) -> Run:
    """The run that holds the config's ranking. Raises ConfigError for one that is not up to date."""
    wanted = targets(context, STAGES["rank"])
    if (run := find_done(context, wanted)) is None:
        reason = "; ".join(why_stale(context, wanted)[:3])
        raise ConfigError(f"simulate: rank is not up to date ({reason}); run `{context.command('rank')}`")
    return run


def _arms(context: Context, run: Run, config: RankerConfig, progress: Callable[[str, float], None]) -> Arms:
    runs = compared_runs(context, config) or {run.id: run.path}
    require_exports_intact(runs)
    exports = {name: export_of(path) for name, path in runs.items()}
    return trained_arms(config, context.root, exports, run.directory("rank"), run.path / PREPARED, progress)
