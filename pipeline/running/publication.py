"""Which run `latest` is: publishing past the gate, rejecting, promoting by hand, rolling back, and which runs stay.

Every move is a line of publications.jsonl in the workspace, written before `latest` moves. A rejected run keeps why in
rejected.json, so that a run of the same command says it again and trains nothing; where that run was removed, what a
rollback said of its export is in its line.
"""

import getpass
import json
import os
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from artifacts.errors import ConfigError, DataError
from artifacts.files.held import is_held
from artifacts.files.json_file import read_json
from artifacts.files.publish import write_json
from artifacts.formats.run import EMBEDDINGS
from artifacts.machine.interrupts import finish
from pipeline.running.gate import reasons
from pipeline.running.purge import remove, remove_purged
from pipeline.stages.earlier.compared_runs import require_exports_intact
from pipeline.stages.earlier.people import lists_digest, made_with_present_lists
from pipeline.workspace.context import Context
from pipeline.workspace.workspace import PUBLICATIONS, REJECTED, Run

ROLLING_BACK = ".rolling-back.json"  # in a workspace: where a rollback that has not answered yet goes from and to


def publish(context: Context, run: Run, measured: Mapping[str, Mapping[str, Any]]) -> None:
    """Makes a run the published one. `measured`: its metrics, by stage.

    Raises DataError where the gate or a rollback has rejected it: `latest` stays, and the run is kept.
    """
    rejection = run.rejection() or _rolled_back(context, run)
    if rejection is None or rejection["by"] == "gate":  # the gate may have been changed since
        found = reasons(context, run, measured)
        rejection = {"by": "gate", "reason": "; ".join(found)} if found else None
    if rejection is not None:
        _reject(context, run, rejection)
        prune(context)
        hint = f"`{context.command('promote', run.id)}` publishes it all the same"
        stays = context.workspace.latest
        raise DataError(
            f"run {run.id} is rejected, latest stays at {stays.id if stays else 'none'}: {rejection['reason']}; {hint}"
        )
    _move(context, "publish", run)
    prune(context)


def _rolled_back(context: Context, run: Run) -> dict[str, Any] | None:
    """The rejection of a run that was made from the same, rolled back, and removed since; None where there is none."""
    made_from = _made_from(run)
    lines = [line for line in context.workspace.publications() if line.get("fingerprint") == made_from]
    if made_from is None or not lines or lines[-1].get("by") != "rollback":
        return None
    return {"by": "rollback", "reason": lines[-1]["reason"]}


def promote(context: Context, id: str) -> Run:
    """Publishes a kept run, whatever the gate says. Raises ConfigError for one that is not there or has other people,
    DataError for a broken one."""
    run = context.workspace.find(id)
    if run is None or run.record("export") is None:
        kept = ", ".join(one.id for one in context.workspace.runs() if one.record("export")) or "none"
        raise ConfigError(f"promote {id}: no run with an export, expected one of: {kept}")
    _require_publishable(context, run)
    _move(context, "promote", run)
    return run


def rollback(context: Context) -> Run:
    """Goes back to the newest kept run that was published before the present one, which becomes a rejected one.

    One that was killed after `latest` had moved is ended, and goes no further back. Raises ConfigError where there is
    none.
    """
    latest = context.workspace.latest
    if latest is None:
        raise ConfigError(f"{context.workspace.path}: nothing is published yet; run `{context.command('run')}`")
    begun = context.workspace.path / ROLLING_BACK
    if begun.exists() and read_json(begun, dict[str, Any], "where a killed rollback went").get("to") == latest.id:
        return latest
    published = {line["run"] for line in context.workspace.publications() if line["action"] in ("publish", "promote")}
    older = (run for run in context.workspace.runs() if run.id < latest.id and run.id in published)
    run = next((run for run in older if run.record("export") and run.rejection() is None), None)
    if run is None:
        raise ConfigError(
            f"{context.workspace.path}: no earlier published run is kept, `{context.command('promote', 'RUN')}` "
            f"publishes one by its name"
        )
    _require_publishable(context, run)
    write_json(begun, {"from": latest.id, "to": run.id})
    at = datetime.now(timezone.utc).isoformat(timespec="seconds")
    _reject(context, latest, {"by": "rollback", "reason": f"rolled back to {run.id} at {at}"})
    _move(context, "rollback", run)
    return run


def settled(context: Context) -> None:
    """The answer is known: the same command would move `latest` once more."""
    finish()
    (context.workspace.path / ROLLING_BACK).unlink(missing_ok=True)


def prune(context: Context) -> None:
    """Removes runs with an export that `keep` does not keep, and those that a killed command had begun to remove.

    One that a reader has open stays until a later command.
    """
    if context.config.keep is None:
        return
    remove_purged(context.workspace.path)
    for run in beyond_keep(context):
        if is_read(run):
            context.console.say(f"keep: {run.path} stays for now: somebody reads its vectors")
        else:
            remove(context.workspace.path, run.path)


def beyond_keep(context: Context) -> list[Run]:
    """Runs with an export that `keep` does not keep; without a `keep` there are none."""
    if context.config.keep is None:
        return []
    latest, named, found = context.workspace.latest, _named_by_ranker(context), []
    left = {False: context.config.keep.runs - (latest is not None), True: context.config.keep.rejected}
    for run in context.workspace.runs():
        if run == latest or run.record("export") is None or run.path in named:
            continue
        left[run.rejection() is not None] -= 1
        if left[run.rejection() is not None] < 0:
            found.append(run)
    return found


def is_read(run: Run) -> bool:
    """Whether somebody on this machine has the run's vectors open."""
    return is_held(run.directory("export") / EMBEDDINGS)


def _named_by_ranker(context: Context) -> set[Any]:
    """Runs whose vectors the config's ranker compares, by name."""
    names = context.config.ranker.vectors if context.config.ranker else ()
    return {(context.root / name).resolve() for name in names}


def _require_publishable(context: Context, run: Run) -> None:
    """Raises ConfigError where other people would come back, DataError for vectors that are not what was exported."""
    require_exports_intact({run.id: run.path})
    version = ((run.record("partition") or {}).get("parts") or {}).get("version", 0)
    if lists_digest(context) is not None and not made_with_present_lists(context, run, version):
        raise ConfigError(
            f"{run.path}: made with other lists of consent or of ids to forget, and stays unpublished; "
            f"run `{context.command('run')}`"
        )


def _reject(context: Context, run: Run, rejection: dict[str, str]) -> None:
    if run.rejection() != rejection:
        write_json(run.path / REJECTED, rejection)
        _log(context, "reject", run, **rejection)


def _move(context: Context, action: str, run: Run) -> None:
    _log(context, action, run)
    context.workspace.publish(run)
    (run.path / REJECTED).unlink(missing_ok=True)
    if action != "rollback":
        (context.workspace.path / ROLLING_BACK).unlink(missing_ok=True)


def _log(context: Context, action: str, run: Run, **rejection: str) -> None:
    """Adds a line to the workspace's record of what was published."""
    latest = context.workspace.latest
    line = {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "action": action,
        "run": run.id,
        "fingerprint": _made_from(run),
        "latest_before": latest.id if latest else None,
        "user": _user(),
        **rejection,
    }
    with (context.workspace.path / PUBLICATIONS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _made_from(run: Run) -> str | None:
    """What the run's export was made from."""
    record = run.record("export")
    return record["fingerprint"] if record else None


def _user() -> str:
    """Who asked; a number where the system has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
