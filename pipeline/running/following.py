"""`transra train CONFIG --rank R`: trains with rank 0, which holds the workspace and makes the stage."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from artifacts.errors import DataError
from pipeline.running.runner import find_done, find_upstream, require_upstream_intact, targets
from pipeline.stages import STAGES
from pipeline.stages.train import graph_identity
from pipeline.workspace.context import Context

if TYPE_CHECKING:
    from pbg_transra import Place


def follow_training(context: Context, place: "Place") -> dict[str, Any]:
    """Waits for rank 0, and trains with it. Returns what this rank did.

    Raises PeerError when rank 0 does not come or a rank is gone, ConfigError where this one is not like rank 0.
    """
    from pbg_transra import follow, met
    from pipeline.stages.told.train_events import train_events

    stage = STAGES["train"]
    wanted = targets(context, stage)
    if done := find_done(context, wanted):
        context.console.say(f"train: up to date ({done.directory('train')})")
        return {"run": done.id, "rank": place.rank, "stages": {"train": {"made": False}}}
    if upstream := find_upstream(context, wanted):
        require_upstream_intact(context, stage, upstream)  # before anyone waits for this rank
    with met(place) as first:
        run = context.workspace.find(first.run)
        if run is None or run.record("partition") is None:
            raise DataError(f"{context.workspace.path}: run {first.run} is not there, expected the workspace of rank 0")
        require_upstream_intact(context, stage, run)
        stage.plan(context, run)
        graph_dir, model = run.directory("partition"), context.config.trained
        bars, lines = context.console.bar("train", " edges"), context.console.lines("train")
        with bars as bar, lines as tell, train_events(bar, tell, None) as to:
            found = follow(
                first, graph_dir, run.partial("train"), model, graph_identity(run), to.progress, to.bucket
            )  # fmt: skip
    context.console.say(
        f"train: rank {place.rank} of {place.count} trained {found.edges:,} edges in {found.buckets} buckets, "
        f"{found.edges_per_second:,.0f} edges/s"
    )
    return {"run": run.id, "rank": place.rank, "trained": asdict(found)}
