"""What `rank` reads beside the impressions, and what it keeps of an earlier answer."""

from pathlib import Path

from artifacts.errors import ConfigError
from artifacts.files.intact import require_intact
from artifacts.files.publish import link_tree
from artifacts.formats.run import EMBEDDINGS, EXPORT
from pipeline.workspace.context import Context
from pipeline.workspace.workspace import Run
from ranker import RankerConfig

TRAININGS = "arms"  # in the directory of a ranking


def compared_runs(context: Context, config: RankerConfig) -> dict[str, Path]:
    """The runs that `ranker.vectors` names; none where the config's own is meant. Raises ConfigError for no export."""
    runs = {name: (context.root / name).resolve() for name in config.vectors}  # `latest` may move meanwhile
    lines = [
        f"ranker.vectors[{place}]: {path}: no run with an export, expected for example runs/demo/latest"
        for place, path in enumerate(runs.values())
        if not (path / EXPORT / EMBEDDINGS).is_file()
    ]
    if lines:
        raise ConfigError(*lines)
    return runs


def require_exports_intact(runs: dict[str, Path], edges: bool = False) -> None:
    """Raises DataError when the vectors of a run, its graph.json or, where `edges` are read, those that training has
    seen are not what its records say."""
    graph = ("graph.json", *(("edges/train/",) if edges else ()))
    for run in map(Run, runs.values()):
        for stage, names in (("export", (EMBEDDINGS,)), ("partition", graph)):
            if record := run.record(stage):
                way_out = "make that run again"
                require_intact(run.directory(stage), record["outputs"], names, way_out)


def expecting(context: Context, config: RankerConfig, run: Run) -> RankerConfig:
    """The section with all that is known of the run's own export, where `expect` does not say more."""
    model = context.config.trained
    known = {"dimension": model.dimension, "anchors": model.anchors, "run": run.id}
    asked = {name: value for name, value in config.expect.model_dump().items() if value is not None}
    return config.model_copy(update={"expect": config.expect.model_copy(update=known | asked)})


def keep_trainings(run: Run, partial: Path, version: int) -> None:
    """Links the trainings of the run's ranking, so that other arms, seeds or exports train only what is new.

    The ranker compares what each was made from. An interrupted attempt has them already.
    """
    record = run.record("rank")
    if record and record["parts"]["version"] == version and not (partial / TRAININGS).exists():
        link_tree(run.directory("rank") / TRAININGS, partial / TRAININGS)


def earlier_trainings(context: Context, run: Run, version: int) -> tuple[Path, dict[str, str]] | None:
    """Those of the newest other run with a ranking of this version, with the digests of their files.

    A run whose vectors were made anew has none of its own, and what they hold may be what it was.
    """
    for other in context.workspace.runs():
        record = other.record("rank")
        if other != run and record and record["parts"]["version"] == version:
            below = f"{TRAININGS}/"
            digests = {
                name.removeprefix(below): one for name, one in record["outputs"].items() if name.startswith(below)
            }
            return other.directory("rank") / TRAININGS, digests
    return None
