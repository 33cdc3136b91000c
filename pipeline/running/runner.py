"""Brings a stage up to date: finds the run it belongs to, makes it aside, publishes it by a rename."""

import platform
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from artifacts.differences import differences
from artifacts.errors import ConfigError, DataError
from artifacts.files.intact import file_digest, require_intact
from artifacts.files.json_file import read_json
from artifacts.files.publish import publish, sync_files, write_json
from artifacts.machine.interrupts import asked
from artifacts.machine.resources import Meter
from artifacts.printable import one_line
from pipeline.output.log import log_event, logged, logger
from pipeline.running.expected import told
from pipeline.running.publication import publish as publish_past_gate
from pipeline.running.store import follow_latest
from pipeline.stages import STAGES, Stage, chain
from pipeline.workspace.context import Context
from pipeline.workspace.fingerprint import digest_of, tree_digests
from pipeline.workspace.workspace import BEGUN, IDENTITY, MADE, RECORD, Parts, Run, adopt

OURS = (RECORD, *BEGUN)  # in the directory of a stage, and not of its making
PACKAGES = ("torchbiggraph", "torch", "duckdb", "pyarrow", "h5py", "numpy")


@dataclass(frozen=True)
class Target:
    """A stage, what it should be made from now, the digest of that, and the files among it."""

    stage: Stage
    parts: dict[str, Any]
    fingerprint: str
    files: list[Path]


@dataclass(frozen=True)
class Outcome:
    """What a command did for a stage: `made` is False when it was up to date."""

    stage: str
    run: Run
    made: bool
    metrics: dict[str, Any]
    odd: list[str]  # what a person should hear of the metrics


def targets(context: Context, stage: Stage) -> list[Target]:
    """The stage and its upstream stages, first things first."""
    found: list[Target] = []
    for link in chain(stage):
        section, upstream = link.section(context), found[-1].fingerprint if found else None
        files, inputs = link.inputs(context)
        parts = {
            "version": link.version,
            "config": section.model_dump(mode="json", exclude=set(section.without_effect)),
            "inputs": inputs,
            "upstream": upstream,
            **link.state(context, upstream),
        }
        found.append(Target(link, parts, digest_of(parts), files))
    return found


def holds_all(run: Run, wanted: list[Target]) -> bool:
    return all(run.holds(target.stage.name, target.fingerprint) for target in wanted)


def find_done(context: Context, wanted: list[Target]) -> Run | None:
    """The run that holds the stage and its upstream as they should be: the published one first, then the newest."""
    latest = context.workspace.latest
    candidates = ([latest] if latest else []) + context.workspace.runs()
    return next((run for run in candidates if holds_all(run, wanted)), None)


def find_upstream(context: Context, wanted: list[Target]) -> Run | None:
    """The newest run that holds all that the stage is made from."""
    return next((run for run in context.workspace.runs() if holds_all(run, wanted[:-1])), None)


def find_joinable(context: Context, wanted: list[Target]) -> Run | None:
    """The newest unpublished run that has what the stage needs, and not yet the stage."""
    stage = wanted[-1].stage
    runs = context.workspace.runs() if stage.adds_to_published else context.workspace.unpublished()
    fits = (run for run in runs if holds_all(run, wanted[:-1]))
    return next((run for run in fits if stage.adds_to_published or run.record(stage.name) is None), None)


def bring_up_to_date(context: Context, name: str, later: Sequence[str] = ()) -> Outcome:
    """Makes a stage unless it is up to date. Its upstream must be: `partition` before `train` before `export`.

    `later` are stages that are asked for after it: before hours of training they look at the graph.
    """
    stage, context.progress.stage = STAGES[name], name
    wanted = targets(context, stage)
    context.inputs.save()
    if run := find_done(context, wanted):
        context.progress.run = run.id
        if context.verify:
            context.stores.fetch(path for target in wanted for path in target.files)
            verify(context, run, wanted)
        record = run.record(name) or {}
        outcome = Outcome(name, run, False, record["metrics"], stage.odd(context, record["metrics"]))
        if not run.views_are_current():
            run.refresh(context.resolved)
        context.console.say(f"{name}: up to date ({run.path / run.directory(name).name})")
    else:
        require_upstream(context, wanted)
        outcome = make_in_run(context, wanted, later)
    for line in outcome.odd:
        context.console.say(f"{name}: warning: {one_line(line)}", "yellow")
    if name in ("export", publishing_stage(context)):
        if context.workspace.latest != outcome.run:
            publish_run(context, outcome)
        follow_latest(context)
    return outcome


def publishing_stage(context: Context) -> str:
    """After which stage `latest` moves: the first that leaves the gate nothing to wait for."""
    return "rank" if context.config.gate and context.config.gate.of_ranker else "export"


def publish_run(context: Context, outcome: Outcome) -> None:
    """Publishes the run of a stage, once the gate has what it asks for. Raises DataError where that rejects it.

    A kill before it costs nothing: the stages are up to date when the command is repeated, and the run is published.
    """
    if outcome.stage != publishing_stage(context):
        context.console.say(f"{outcome.stage}: is published after {publishing_stage(context)}, which the gate judges")
        return
    measured = {**outcome.run.metrics(), outcome.stage: outcome.metrics}
    gate = context.config.gate
    if gate is not None and gate.judges_ranks and STAGES["evaluate"].applies(context):
        measured["evaluate"] = bring_up_to_date(context, "evaluate").metrics  # another run may hold it
    context.progress.stage, context.progress.run = outcome.stage, outcome.run.id
    publish_past_gate(context, outcome.run, measured)


def require_upstream(context: Context, wanted: list[Target]) -> None:
    """Raises ConfigError that names the first stage above that is stale, and the command that makes it."""
    if len(wanted) > 1 and find_upstream(context, wanted) is None:
        chains = (wanted[:end] for end in range(1, len(wanted)))
        stale = next(links for links in chains if find_done(context, links) is None)
        above = stale[-1].stage.name
        reason = "; ".join(why_stale(context, stale)[:3])
        raise ConfigError(
            f"{wanted[-1].stage.name}: {above} is not up to date ({reason}); run `{context.command(above)}`"
        )


def why_stale(context: Context, wanted: list[Target]) -> list[str]:
    """What changed since the newest run that holds the last of these stages, or else one above it, which is named."""
    for target in wanted:
        records = (record for run in context.workspace.runs() if (record := run.record(target.stage.name)))
        newest = next(records, None)
        if newest is None:
            return [f"no run holds a finished {target.stage.name}"]
        above = "" if target is wanted[-1] else f"{target.stage.name}: "
        if changes := differences(newest["parts"], target.parts):
            return [f"{above}{change}" for change in changes]
    return ["no run holds them together"]


def make_in_run(context: Context, wanted: list[Target], later: Sequence[str]) -> Outcome:
    target, upstream = wanted[-1], find_upstream(context, wanted)
    if upstream is not None:
        require_upstream_intact(context, target.stage, upstream)
        for name in later if target.stage.takes_long else ():
            for line in STAGES[name].foreseen(context, upstream):
                context.console.say(f"{name}: warning: will refuse after training: {one_line(line)}", "yellow")
    if expected := target.stage.plan(context, upstream):
        what = "at most" if target.stage.plans_bounds else "expected"
        context.console.say(f"{target.stage.name}: {what} {told(expected)}")
    run = find_joinable(context, wanted) or open_run(context, wanted)
    require_upstream_intact(context, target.stage, run)  # hard links to the same files, as a rule: not read again
    context.progress.run = run.id
    with logged(run.path / "log.jsonl", run=run.id, stage=target.stage.name):
        log_event("stage started", config_hash=context.config_hash, expected=expected)
        try:
            record = make(context, run, target)
        except BaseException as error:
            if asked() or isinstance(error, KeyboardInterrupt):
                log_event("stage interrupted")
                raise
            logger.error("stage failed: %s", error, exc_info=True)
            raise
        metrics = record["metrics"]
        cost = {"seconds": metrics["seconds"], "peak_rss_bytes": metrics["peak_rss_bytes"]}
        odd = target.stage.odd(context, metrics)
        log_event("stage finished", rows=target.stage.rows(metrics), **cost, metrics=metrics, odd=odd)
    run.refresh(context.resolved)
    where = run.directory(target.stage.name)
    context.console.say(
        f"{target.stage.name}: {target.stage.summary(record['metrics'])} in {record['metrics']['seconds']:.1f} s, "
        f"peak memory {record['metrics']['peak_rss_bytes'] / (1 << 20):.0f} MiB -> {where}"
    )
    return Outcome(target.stage.name, run, True, metrics, odd)


def require_upstream_intact(context: Context, stage: Stage, run: Run) -> None:
    """Raises DataError when a file that the stage will read is not what the run's records say."""
    for above, prefixes in stage.reads.items():
        directory = run.directory(above)
        way_out = f"remove {directory} and run `{context.command(above)}`"
        require_intact(directory, (run.record(above) or {})["outputs"], prefixes, way_out)


def open_run(context: Context, wanted: list[Target]) -> Run:
    """A new run that takes over what is still valid: hard links to the stages above."""
    parent = find_upstream(context, wanted) if len(wanted) > 1 else None
    run = context.workspace.open_run(context.config_hash)
    for target in wanted[:-1]:
        assert parent is not None  # require_upstream has seen to it
        adopt(run, target.stage.name, parent)
    return run


def make(context: Context, run: Run, target: Target) -> dict[str, Any]:
    try:
        return make_aside(context, run, target)
    except BaseException:
        if not target.stage.resumable:
            shutil.rmtree(run.partial(target.stage.name), ignore_errors=True)
        raise


def make_aside(context: Context, run: Run, target: Target) -> dict[str, Any]:
    """Makes the stage in its partial directory, which is renamed once it is whole and on disk."""
    stage, partial = target.stage, run.partial(target.stage.name)
    prepare(context, target, partial)
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    metrics = made(context, run, target, partial)
    with ThreadPoolExecutor(1) as syncing:  # the disk writes what is hashed meanwhile
        synced = syncing.submit(sync_files, partial)
        outputs = tree_digests(partial, skip=OURS)
    synced.result()
    inputs = context.inputs.digests(target.files, target.parts["inputs"])
    context.inputs.save()
    latest = context.workspace.latest
    record = {
        "stage": stage.name,
        "run": run.id,
        "parent": latest.id if latest else None,
        "fingerprint": target.fingerprint,
        "parts": target.parts,
        "started": started,
        "versions": {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}},
        "input_digests": inputs,
        "outputs": outputs,
        "metrics": metrics,
    }
    write_json(partial / RECORD, record)
    publish(partial, run.directory(stage.name))  # which may replace the stage's own earlier answer
    for name in BEGUN:  # only now: without them all work would be thrown away
        (run.directory(stage.name) / name).unlink(missing_ok=True)
    return record


def made(context: Context, run: Run, target: Target, partial: Path) -> dict[str, Any]:
    """Makes the stage and returns its metrics.

    A stage that resumes keeps them beside what it has made, once that is on disk, and is not asked again: what it
    needed to resume may be gone, and a kill while gigabytes are hashed would cost it all.
    """
    path = partial / MADE
    kept = read_json(path, dict[str, Any], "what an interrupted stage has made") if path.exists() else {}
    if kept.get("fingerprint") == target.fingerprint:
        return dict(kept["metrics"])
    path.unlink(missing_ok=True)
    with Meter() as meter:
        metrics = target.stage.make(context, run, partial)
    metrics = {**metrics, "seconds": meter.seconds, "peak_rss_bytes": meter.peak_bytes}
    if target.stage.resumable:
        sync_files(partial)
        write_json(path, {"fingerprint": target.fingerprint, "metrics": metrics})
    return metrics


def prepare(context: Context, target: Target, partial: Path) -> None:
    """An empty directory; for a stage that resumes, the interrupted one if it was begun with the same."""
    identity = partial / IDENTITY
    if not target.stage.resumable or context.restart or not identity.exists():
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        write_json(identity, target.parts)
        return
    began = read_json(identity, Parts, "what an interrupted stage was begun with").model_dump()
    free: frozenset[str] = getattr(target.stage.section(context), "changes_on_resume", frozenset())
    changes = differences(without(began, free), without(target.parts, free))
    same_code = began["version"] == target.parts["version"]
    if changes and not (target.stage.knows_its_work and same_code):
        back = "set them back" if same_code else "go on with the version of transra that began it"
        raise ConfigError(
            f"{partial}: an interrupted {target.stage.name} was begun with other values ({'; '.join(changes)}); "
            f"{back}, or throw it away: `{context.command(target.stage.name, '--restart')}`"
        )
    log_event("resumed", stage=target.stage.name, changes=differences(began, target.parts))


def without(parts: dict[str, Any], keys: frozenset[str]) -> dict[str, Any]:
    return {**parts, "config": {k: v for k, v in parts["config"].items() if k not in keys}}


def verify(context: Context, run: Run, wanted: list[Target]) -> None:
    """Compares every byte of inputs and outputs with the digests that were taken when they were made."""
    broken = []
    for target in wanted:
        record, directory = run.record(target.stage.name) or {}, run.directory(target.stage.name)
        for path in target.files:
            digest = record["input_digests"].get(context.inputs.name(path))
            if digest is not None and file_digest(path) != digest:
                broken.append(f"{path}: the content is not what {run.id} was made from")
        found = tree_digests(directory, skip=OURS)
        for name in sorted(found.keys() | record["outputs"].keys()):
            if found.get(name) != record["outputs"].get(name):
                broken.append(f"{directory / name}: the content is not what was published")
    if broken:
        raise DataError(*broken)
