"""What each command of the command line does: options in, the facts of its JSON answer out.

What a command needs is imported by it, so that those that need little are quick.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifacts.errors import ConfigError, DataError
from artifacts.printable import one_line
from pipeline.command_context import context_of, require_plain
from pipeline.output.console import Console, write

if TYPE_CHECKING:
    from pipeline.workspace.context import Context
    from pipeline.workspace.workspace import Run


def everything(context: "Context", until: str | None) -> list[str]:
    """The stages that the config has, in order, as far as `until`. Raises ConfigError where it does not have that."""
    from pipeline.stages import STAGES

    found = [name for name, stage in STAGES.items() if stage.applies(context)]
    if until is not None and until not in found:
        raise ConfigError(f"--until {until}: the config has no section for it, expected one of {', '.join(found)}")
    return found[: found.index(until) + 1] if until else found


def check_stages(context: "Context", names: list[str]) -> None:
    """Before hours of work: raises what is known to be wrong with the workspace or the stages' config by now."""
    from pipeline.stages import STAGES
    from pipeline.workspace.owner import require_own

    require_own(context)
    for name in names:
        STAGES[name].check(context)


def run_stages(options: argparse.Namespace) -> dict[str, Any]:
    from pipeline.report.view import follow
    from pipeline.running.following import follow_training
    from pipeline.running.reporting import reported
    from pipeline.running.runner import bring_up_to_date
    from pipeline.running.status import dry_run
    from pipeline.stages import RESUMABLE
    from pipeline.stages.train import place_in
    from pipeline.workspace.leftovers import remove_leftovers
    from pipeline.workspace.lock import LOCK, locked
    from pipeline.workspace.owner import claim

    context = context_of(options)
    asked = options.stages or everything(context, options.until)
    if asked == ["partition"] and context.config.checks:
        asked = ["partition", "checks"]  # whoever makes a graph by hand wants to know what it is like
    if options.dry_run:
        check_stages(context, asked)
        found = [dry_run(context, name) for name in asked]
        context.inputs.save_if_free(context.workspace.path / LOCK)
        return {"stages": found}
    if asked == ["train"] and (place := place_in(context)) and place.rank:
        check_stages(context, asked)
        return follow_training(context, place)
    with reported(context, options.command):
        check_stages(context, asked)
        context.workspace.create()
        with locked(context.workspace.path), context.stores:
            claim(context)
            remove_leftovers(context.workspace, RESUMABLE)
            try:
                outcomes = [bring_up_to_date(context, name, asked[at:]) for at, name in enumerate(asked, 1)]
            except DataError:
                if not options.stages and (rejected := newest_rejected(context)):
                    follow(context, rejected)  # which says why
                raise
            report = None if options.stages else follow(context, outcomes[-1].run)
    made = {one.stage: {"made": one.made, "metrics": one.metrics, "odd": one.odd} for one in outcomes}
    return {"run": outcomes[-1].run.id, "stages": made, **({"report": str(report)} if report else {})}


def newest_rejected(context: "Context") -> "Run | None":
    """The newest run, where the gate has just rejected it."""
    newest = next(iter(context.workspace.runs()), None)
    return newest if newest and newest.rejection() else None


def show_report(options: argparse.Namespace) -> dict[str, Any]:
    from pipeline.report.view import refresh_report, reported_run, require_library
    from pipeline.workspace.owner import require_own

    context = context_of(options)
    require_own(context)
    require_library()
    run = reported_run(context.workspace, options.run)
    if run is None:
        known = ", ".join(one.id for one in context.workspace.runs()) or "none"
        raise ConfigError(f"report: no such run in {context.workspace.path}, expected one of: {known}")
    if options.dry_run:
        raise ConfigError("report: has no --dry-run; it takes seconds")
    # Without the lock: a night that runs for hours keeps nobody from looking at the last one.
    return {"run": run.id, "report": str(refresh_report(context, run))}


def plan_graph_size(options: argparse.Namespace) -> dict[str, Any]:
    from pipeline.scale import Size, plan_size

    return plan_size(context_of(options), Size(options.edges, options.entities, options.machines))


def tune_model(options: argparse.Namespace) -> dict[str, Any]:
    from pipeline.tuning.search import Budget
    from pipeline.tuning.tune import tune

    context = context_of(options)
    out = options.out or options.config.with_name(f"{options.config.stem}.tuned.json")
    require_plain(out, "--out ")
    return tune(context, out, Budget(options.minutes, options.trials), options.all, options.dry_run)


def simulate_auctions(options: argparse.Namespace) -> dict[str, Any]:
    from pipeline.simulation.requests import Asked
    from pipeline.simulation.simulate import Files, simulate

    if options.candidates is not None:
        require_plain(options.candidates, "--candidates ")
    context, asked = context_of(options), Asked(options.requests, options.seed, options.reserve)
    return simulate(context, asked, Files(options.candidates, dict(options.scores)), options.dry_run)


def write_features(options: argparse.Namespace) -> dict[str, Any]:
    from pipeline.features import features

    context = context_of(options)
    require_plain(options.out)
    return features(context, options.out, options.dry_run)


def purge_runs(options: argparse.Namespace) -> dict[str, Any]:
    from pipeline.running.purge import kept_run, purge
    from pipeline.workspace.lock import locked
    from pipeline.workspace.owner import require_own

    context = context_of(options)
    require_own(context)
    if options.dry_run:
        return purge(context, dry_run=True)
    kept_run(context)  # there may be no workspace to lock
    with locked(context.workspace.path):
        return purge(context, dry_run=False)


def clean_workspace(options: argparse.Namespace) -> dict[str, Any]:
    from pipeline.running.clean import clean
    from pipeline.workspace.lock import locked
    from pipeline.workspace.owner import require_own

    context = context_of(options)
    require_own(context)
    if not context.workspace.path.is_dir():
        raise ConfigError(f"{context.workspace.path}: there is no workspace yet; run `{context.command('run')}`")
    with locked(context.workspace.path):  # what a command is making is no leftover
        return clean(context, options.only, removes=options.yes and not options.dry_run)


def promote_run(options: argparse.Namespace) -> dict[str, Any]:
    from pipeline.running.publication import promote

    return move_latest(options, lambda context: promote(context, options.run))


def roll_back(options: argparse.Namespace) -> dict[str, Any]:
    from pipeline.running.publication import rollback

    return move_latest(options, rollback)


def move_latest(options: argparse.Namespace, move: Callable[["Context"], "Run"]) -> dict[str, Any]:
    """Moves `latest` to the run that `move` returns, under the lock."""
    from pipeline.report.view import follow_all
    from pipeline.running.publication import settled
    from pipeline.running.store import follow_latest
    from pipeline.workspace.lock import locked
    from pipeline.workspace.owner import require_own

    context = context_of(options)
    require_own(context)
    before = context.workspace.latest
    if options.dry_run:
        raise ConfigError(f"{options.command}: has no --dry-run; `{context.command('status')}` shows the runs")
    if not context.workspace.path.is_dir():
        raise ConfigError(f"{context.workspace.path}: nothing is published yet; run `{context.command('run')}`")
    with locked(context.workspace.path):
        run = move(context)
        follow_latest(context)
        settled(context)
        follow_all(context, (run, before))
    context.console.say(f"{options.command}: latest is {run.id}, it was {before.id if before else 'none'}")
    return {"latest": run.id, "latest_before": before.id if before else None}


def show_status(options: argparse.Namespace) -> dict[str, Any]:
    from pipeline.running.status import status
    from pipeline.workspace.owner import require_own

    context = context_of(options)
    require_own(context)
    return status(context)


def score_rows(options: argparse.Namespace) -> dict[str, Any]:
    from pipeline.score import score
    from pipeline.workspace.owner import require_own

    context = context_of(options)
    for path in (Path(options.source), options.out):
        require_plain(path)
    require_own(context)
    return score(context, options.source, options.out)


def infer_vectors(options: argparse.Namespace) -> dict[str, Any]:
    from pipeline.infer import infer
    from pipeline.workspace.owner import require_own

    context = context_of(options)
    for path in (options.events, options.out):
        require_plain(path)
    require_own(context)
    return infer(context, options.events, options.out, options.source)


def show_neighbors(options: argparse.Namespace) -> dict[str, Any]:
    from pipeline.neighbors import Question, neighbors_of
    from pipeline.workspace.owner import require_own

    context = context_of(options)
    require_own(context)
    if bool(options.id) == (options.vector is not None):
        raise ConfigError("neighbors: expected either ids or --vector")
    to = list(dict.fromkeys(options.to or [options.type]))
    return neighbors_of(context, Question(options.type, options.id, options.vector, to, options.k, options.exact))


def explain_pair(options: argparse.Namespace) -> dict[str, Any]:
    from pipeline.lookup.explain import explained, seen_by_ranker
    from pipeline.lookup.explained_text import explanation
    from pipeline.lookup.published import Published
    from pipeline.workspace.owner import require_own

    context = context_of(options)
    require_own(context)
    published, pair = Published.of(context), (options.user, options.ad, options.relation)
    found = explained(published, *pair, options.k) | {"ranker": seen_by_ranker(context, published, *pair)}
    context.console.say(explanation(found))
    return found


def serve_published(options: argparse.Namespace) -> dict[str, Any]:
    try:
        from pipeline.serving.server import serve
    except ModuleNotFoundError as error:
        raise ConfigError(f"serve: {error.name} is not installed; pip install 'transra[serve]'") from error
    from pipeline.workspace.owner import require_own

    context = context_of(options)
    require_own(context)
    return serve(context, options.host, options.port)


def show_config(options: argparse.Namespace) -> dict[str, Any]:
    from pipeline.stages import STAGES
    from pipeline.stages.names import check_columns, check_names

    context = context_of(options)
    if options.kind == "show":
        whole = context.config.model_dump(mode="json", by_alias=True)
        context.console.say(json.dumps(whole, indent=2))
        return {"config": whole}
    notes = [
        *check_names(context),
        *check_columns(context),
        *(note for stage in STAGES.values() for note in stage.check(context)),
    ]
    unchecked = list(dict.fromkeys(notes))  # rank and fit read the same log
    context.console.say(f"{options.config}: good" + "".join(f", but not checked: {note}" for note in unchecked))
    return {"config": context.resolved, "unchecked": unchecked}


def show_pbg_config(options: argparse.Namespace) -> dict[str, Any]:
    from artifacts.files.publish import write_text
    from pbg_transra import ModelConfig, config_module, names_note
    from pipeline.running.status import trained_run
    from pipeline.workspace.owner import require_own

    context = context_of(options)
    require_own(context)
    run, record = trained_run(context)
    graph_dir, model = run.directory("partition"), ModelConfig.model_validate(record["parts"]["config"])
    text = config_module(graph_dir, run.directory("train"), model, context.config.evaluate.split)
    notes = [note] if (note := names_note(graph_dir)) else []
    if options.output:
        write_text(options.output, text)
        context.console.say(f"config pbg: run {run.id} -> {options.output}")
    else:
        context.console.say(text)
    for note in notes:
        write(f"transra: {one_line(note)}", sys.stderr)
    return {"run": run.id, "module": text, "notes": notes}


def show_card(options: argparse.Namespace) -> dict[str, Any]:
    from artifacts.files.publish import write_text
    from pipeline.running.model_card import model_card
    from pipeline.running.published_facts import published_facts

    context = context_of(options)
    facts = published_facts(context)
    text = model_card(facts, context.workspace.path.name)
    if options.output:
        require_plain(options.output)
        write_text(options.output, text)
        context.console.say(f"card: run {facts.run.name} -> {options.output}")
    else:
        context.console.say(text)
    return {"run": facts.run.name, "card": text}


def log_mlflow(options: argparse.Namespace) -> dict[str, Any]:
    from pipeline.running.mlflow_run import log_to_mlflow
    from pipeline.running.published_facts import published_facts

    context = context_of(options)
    facts = published_facts(context)
    added = log_to_mlflow(facts, context.workspace.path.name, options.uri)
    context.console.say(f"mlflow: run {facts.run.name} {'added' if added else 'is there'}")
    return {"run": facts.run.name, "added": added}


def show_schema(options: argparse.Namespace) -> dict[str, Any]:
    from pipeline.config.schema import config_schema

    Console(options.quiet, options.json).say(json.dumps(config_schema(), indent=2))
    return {"schema": config_schema()}


def write_config(options: argparse.Namespace) -> dict[str, Any]:
    from pipeline.init import init

    for path in (*options.logs, options.out, options.root):
        require_plain(path)
    console = Console(options.quiet, options.json)
    return init(options.logs, options.out, options.root.resolve(), options.assume_consent, console)


def make_demo_data(options: argparse.Namespace) -> dict[str, Any]:
    from demo_world import WorldParameters, generate

    asked = {key: getattr(options, key) for key in ("users", "impressions", "days", "seed")}
    given = {key: value for key, value in asked.items() if value is not None}
    console = Console(options.quiet, options.json)
    with console.bar("demo-data", " events") as bar, console.lines("demo-data") as tell:
        written = 0

        def progress(rows: int) -> None:
            nonlocal written
            written += rows
            bar.update(rows)
            tell(f"{written:,} rows written", None)

        report = generate(options.directory, WorldParameters(**given), progress)
    events = sum(report["engagements"].values()) + sum(report["conversions"].values())
    # None where too few people clicked, or converted, for there to be a curve
    ctr, cvr = ("none" if auc is None else f"{auc:.3f}" for auc in map(report["oracle"].get, ("ctr_auc", "cvr_auc")))
    console.say(
        f"demo-data: {events:,} events and {report['ranker']['impressions']:,} impressions to rank, "
        f"CTR {report['ctr']:.2%}, oracle AUC {ctr} (CTR) {cvr} (CVR) "
        f"-> {options.directory}"
    )
    return {"directory": str(options.directory), "report": report}
