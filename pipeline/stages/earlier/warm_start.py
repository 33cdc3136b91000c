"""Which run a warm training begins from (`model.warm_start`), and its model."""

from typing import TYPE_CHECKING

from pydantic import ValidationError

from artifacts.errors import ConfigError
from artifacts.files.intact import require_intact
from pipeline.workspace.context import Context
from pipeline.workspace.workspace import Run, Workspace

if TYPE_CHECKING:
    from pbg_transra import PublishedModel

BEGUN_FROM = "begun_from"  # in what a training was made from


def begun_from(workspace: Workspace, graph: str | None) -> str | None:
    """The id of the run that a training on a graph, given its fingerprint, begins from; None where it begins cold.

    That is the published run, unless that was trained on this very graph: then it is what that one began from, so that
    a night that is run again is up to date, and no night's training begins from its own outcome.
    """
    record = workspace.latest.record("train") if workspace.latest else None
    if workspace.latest is None or record is None:
        return None
    if record["parts"]["upstream"] != graph:
        return workspace.latest.id
    found: str | None = record["parts"].get(BEGUN_FROM)
    return found


def published_model(context: Context, run: Run) -> "PublishedModel | None":
    """The model that a training in `run` begins from; None where it begins cold. Raises ConfigError where it is gone,
    and where its vectors are of another space than the config's."""
    from pbg_transra import ModelConfig, PublishedModel

    graph = run.record("partition")
    id = begun_from(context.workspace, graph["fingerprint"] if graph else None)
    if id is None:
        return None
    cold = "begin cold once with --set model.warm_start=null"
    found = context.workspace.find(id)
    record = found.record("train") if found else None
    if found is None or record is None:
        raise ConfigError(f"model.warm_start: run {id}, which this night's training began from, is gone; {cold}")
    try:
        model = ModelConfig.model_validate(record["parts"]["config"])
    except ValidationError as error:
        raise ConfigError(f"model.warm_start: run {id} was trained by another version of transra; {cold}") from error
    published = PublishedModel(id, found.directory("partition"), found.directory("train"), model)
    published.require_same_space(context.config.trained)
    return published


def require_model_intact(context: Context, published: "PublishedModel") -> None:
    """Raises DataError when the model to begin from, or its graph, are not what its run's records say."""
    run = Run(context.workspace.path / published.run)
    way_out = "begin cold once with --set model.warm_start=null"
    for stage, prefixes in (("partition", ("graph.json", "entities/", "edges/train/")), ("train", ("",))):
        require_intact(run.directory(stage), (run.record(stage) or {})["outputs"], prefixes, way_out)
