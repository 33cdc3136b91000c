"""What readers elsewhere are led to follows `latest`: the config's store, `publish.url`."""

from artifacts.errors import ConfigError, ResourceError
from artifacts.formats.run import EXPORT, MANIFEST
from artifacts.published_store import PublishedStore
from pipeline.stages.earlier.compared_runs import require_exports_intact
from pipeline.workspace.context import Context
from pipeline.workspace.workspace import METRICS


def follow_latest(context: Context) -> None:
    """Copies the published run to the store, unless it is the one there, and removes what `publish.keep` does not keep.

    A command that is killed before leaves readers with the run before; the next one ends it. Raises ConfigError for the
    store of another config, DataError for vectors that are not what was exported, ResourceError for a store that cannot
    be written.
    """
    publish, latest = context.config.publish, context.workspace.latest
    export = latest.record("export") if latest else None
    if publish is None or latest is None or export is None:
        return
    store, config = PublishedStore(publish.url), context.workspace.path.name
    there = store.latest(ResourceError)
    if there is not None and there.config != config:
        raise ConfigError(
            f"publish.url: {publish.url} has the runs of '{there.config}'; expected a place of its own for '{config}'"
        )
    if there is not None and there.run == latest.id:
        return
    require_exports_intact({latest.id: latest.path})
    files = [f"{EXPORT}/{name}" for name in sorted(export["outputs"])]
    store.publish(latest.path, [*files, METRICS, MANIFEST], config)
    context.console.say(f"publish: {latest.id} -> {publish.url}")
    for run in surplus(context, store, publish.keep):
        store.remove(run)


def leave_latest(context: Context, dry_run: bool) -> list[str]:
    """Removes all runs from the store but the published one, for `purge`; returns what they are."""
    publish = context.config.publish
    if publish is None:
        return []
    if not dry_run:
        follow_latest(context)
    store = PublishedStore(publish.url)
    doomed = surplus(context, store, 1)
    if not dry_run:
        for run in doomed:
            store.remove(run)
    return [f"{store.url}/{run}" for run in doomed]


def surplus(context: Context, store: PublishedStore, keep: int) -> list[str]:
    """Runs of ours in the store beyond the newest `keep`, of which `latest` is one; what is not ours stays."""
    latest = context.workspace.latest
    ours = {line["run"] for line in context.workspace.publications() if "run" in line}
    others = [run for run in store.runs() if run in ours and (latest is None or run != latest.id)]
    return sorted(others, reverse=True)[keep - 1 :]
