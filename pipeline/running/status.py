"""`transra status`: what the workspace holds, and what the next command would do."""

from typing import TYPE_CHECKING, Any

from artifacts.errors import ConfigError
from artifacts.formats.graph import load_graph
from artifacts.formats.run import EMBEDDINGS
from pipeline.running.expected import told
from pipeline.running.runner import find_done, find_upstream, targets, why_stale
from pipeline.stages import STAGES
from pipeline.stages.earlier.compared_runs import require_exports_intact
from pipeline.workspace.context import Context
from pipeline.workspace.lock import LOCK, holder_of
from pipeline.workspace.workspace import Run

if TYPE_CHECKING:
    from artifacts.embeddings import Embeddings


def stage_states(context: Context) -> dict[str, dict[str, Any]]:
    """For each stage of this config: the run that holds it as it should be, or why none does."""
    states: dict[str, dict[str, Any]] = {}
    for name, stage in STAGES.items():
        if not stage.applies(context):
            continue
        wanted = targets(context, stage)
        run = find_done(context, wanted)
        if run:
            states[name] = {"state": "up to date", "run": run.id}
        else:
            states[name] = {"state": "stale", "why": why_stale(context, wanted)}
    return states


def status(context: Context) -> dict[str, Any]:
    """Prints and returns the published run, the stages and unfinished work.

    While a command holds the workspace, what is unfinished may be what it is making, so nothing is called interrupted.
    """
    latest = context.workspace.latest
    states = stage_states(context)
    context.inputs.save_if_free(context.workspace.path / LOCK)
    holder = holder_of(context.workspace.path)
    unfinished = [
        str(run.partial(name)) for run in context.workspace.runs() for name in STAGES if run.partial(name).is_dir()
    ]
    runs = len(context.workspace.runs())
    context.console.say(f"workspace {context.workspace.path}: {runs} run{'s' * (runs != 1)}")
    context.console.say(f"latest    {latest.id if latest else 'none: nothing is published yet'}")
    context.console.heading(f"{'stage':<9} {'state':<10}  run, or why it is stale")
    for name, state in states.items():
        _say_stage(context, name, state)
    rejected = {run.id: found["reason"] for run in context.workspace.runs() if (found := run.rejection())}
    for id, reason in rejected.items():
        context.console.say(f"rejected  {id}: {reason}")
    if holder:
        context.console.say(f"at work   {holder}")
    for path in unfinished:
        text = f"unfinished {path}" if holder else f"interrupted {path}: repeat the command and it resumes from there"
        context.console.say(text)
    found = {"interrupted": [] if holder else unfinished, "unfinished": unfinished if holder else [], "holder": holder}
    return {"latest": latest.id if latest else None, "stages": states, "rejected": rejected, **found}


def _say_stage(context: Context, name: str, state: dict[str, Any]) -> None:
    """A row of the table: where several reasons are told, each has a line."""
    fresh = state["state"] == "up to date"
    first, *more = [state["run"]] if fresh else state["why"][:3]
    context.console.say(f"{name:<9} {state['state']:<10}  {first}", "green" if fresh else "yellow")
    for reason in more:
        context.console.say(f"{'':<21}  {reason}", "yellow")


def dry_run(context: Context, name: str) -> dict[str, Any]:
    """Prints and returns what a stage would do: is it stale and why, and what it would take."""
    stage = STAGES[name]
    wanted = targets(context, stage)
    if find_done(context, wanted):
        context.console.say(f"{name}: up to date")
        return {"stage": name, "state": "up to date"}
    upstream = find_upstream(context, wanted)
    why = why_stale(context, wanted)
    if upstream is None and stage.upstream:
        context.console.say(f"{name}: stale ({'; '.join(why[:3])}); its plan is known once {stage.upstream} is done")
        return {"stage": name, "state": "stale", "why": why}
    expected = stage.expect(context, upstream)
    takes = f"; expected {told(expected)}" if expected else ""
    context.console.say(f"{name}: stale ({'; '.join(why[:3])}){takes}")
    return {"stage": name, "state": "stale", "why": why, "expected": expected}


def published_vectors(context: Context) -> "Embeddings":
    """Opens the published vectors. Raises ConfigError when there are none, DataError for those of another graph."""
    from artifacts.embeddings import Embeddings

    latest = context.workspace.latest
    if latest is None:
        raise ConfigError(f"{context.workspace.path}: nothing is published yet; run `{context.command('run')}`")
    require_exports_intact({latest.id: latest.path})
    embeddings = Embeddings(latest.directory("export") / EMBEDDINGS)
    embeddings.require_fits(load_graph(latest.directory("partition")))
    return embeddings


def trained_run(context: Context) -> tuple[Run, dict[str, Any]]:
    """The published run, or else the newest with a model, and its record. Raises ConfigError when there is none."""
    latest = context.workspace.latest
    for run in ([latest] if latest else []) + context.workspace.runs():
        if record := run.record("train"):
            return run, record
    raise ConfigError(f"{context.workspace.path}: no run holds a model yet; run `{context.command('run')}`")
