"""`transra tune`: chooses settings of the model by the valid split, and writes a config that extends the one given.

<workspace>/tune.sqlite   trials so far; the same command goes on with them
<workspace>/.tuning/      the model of the trial that is being trained
"""

import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from artifacts.errors import ConfigError
from artifacts.formats.graph import load_graph
from pbg_transra import ModelConfig, tail_bias_fits
from pipeline.config.run_config import RunConfig
from pipeline.running.expected import told
from pipeline.running.runner import bring_up_to_date, targets
from pipeline.running.status import dry_run
from pipeline.stages import RESUMABLE, STAGES
from pipeline.stages.told.split_notes import wanted_splits
from pipeline.tuning.search import Budget, Search, settings_told
from pipeline.tuning.space import METRICS, VERSION, Space, judged_by, require_judgeable, space_of, trial_model
from pipeline.tuning.study import Study, Trial, kept, require_optuna
from pipeline.tuning.tuned_config import require_writable, write_tuned
from pipeline.workspace.context import SCRATCH, Context
from pipeline.workspace.fingerprint import digest_of
from pipeline.workspace.leftovers import remove_leftovers
from pipeline.workspace.lock import locked
from pipeline.workspace.owner import claim, require_own
from pipeline.workspace.workspace import Run

STUDY = "tune.sqlite"


def tune(context: Context, out: Path, budget: Budget, everything: bool, only_plan: bool) -> dict[str, Any]:
    """Tunes, and writes `out`. `everything`: keys that the config writes may change, too.

    Raises ConfigError where Optuna, a model or a valid split is missing, and where `out` is not ours; DataError and
    ResourceError for the file of trials; the rest as the stages `partition` and `train`.
    """
    require_optuna()
    _require_valid_split(context.config)
    require_writable(out, context.config_path)
    require_own(context)
    stages = ["partition", *(["checks"] if context.config.checks else [])]
    for name in (*stages, "train"):
        STAGES[name].check(context)
    if only_plan:
        return {"stages": [dry_run(context, name) for name in stages]}
    context.workspace.create()
    with locked(context.workspace.path), context.stores:
        claim(context)
        remove_leftovers(context.workspace, RESUMABLE)
        run = [bring_up_to_date(context, name).run for name in stages][-1]
        shutil.rmtree(context.workspace.path / SCRATCH, ignore_errors=True)
        with kept(context.workspace.path / STUDY):
            search = _search(context, run, everything)
            trials = search.go_on(budget)
        return _written(context, out, search.space, trials)


def _require_valid_split(config: RunConfig) -> None:
    """Before the graph is made. Raises ConfigError, also for a config of a graph alone."""
    judge = METRICS[judged_by(config.trained)]
    if "valid" not in wanted_splits(config.graph):
        raise ConfigError(f"graph.split: no valid split, whose {judge} tune chooses by; expected one")


def _search(context: Context, run: Run, everything: bool) -> Search:
    """What is to be searched on the graph of a run. Raises ResourceError where training does not fit."""
    graph_dir, model = run.directory("partition"), context.config.trained
    graph = load_graph(graph_dir)
    require_judgeable(graph, model)
    space = space_of(graph, model, tail_bias_fits(graph_dir, model), everything)
    first = context.config.model_copy(update={"model": trial_model(space, {}, as_it_is=True)})
    expected = STAGES["train"].plan(replace(context, config=first, restart=True), run)
    context.console.say(f"tune: expected of the first trial {told(expected)}")
    made_from = targets(context, STAGES["train"])[-1].fingerprint
    name = digest_of({"space": VERSION, "train": made_from, "judged": [space.by, model.validation_edges, model.seed],
                      "free": sorted(space.free)})  # fmt: skip
    return Search(context, run, space, Study(context.workspace.path / STUDY, name, space, model.seed))


def _written(context: Context, out: Path, space: Space, trials: list[Trial]) -> dict[str, Any]:
    """Writes what the best trial says, and tells how much better it is."""
    as_it_is = next(trial for trial in trials if trial.as_it_is)
    best = max((trial for trial in trials if trial.outcome == "done"), key=_score)
    model = ModelConfig.model_validate({**space.model.model_dump(), **best.settings})
    metric, score, base = METRICS[space.by], _score(best), _score(as_it_is)
    remark = f"{metric} {score:.4f} on the valid split, {base:.4f} before; {len(trials)} trials"
    write_tuned(out, context.config_path, context.config.model_copy(update={"model": model}), remark)
    gain = f" ({score / base - 1:+.1%})" if base else ""
    context.console.say(f"tune: best is trial {best.number}: {settings_told(best)}")
    context.console.say(f"tune: {metric} {score:.4f}, the config as it is {base:.4f}{gain} -> {out}")
    return {
        "config": str(out),
        "metric": metric,
        "as_it_is": base,
        "best": asdict(best),
        "trials": [asdict(trial) for trial in trials],
    }


def _score(trial: Trial) -> float:
    assert trial.score is not None
    return trial.score
