"""TransRA inside PyTorch-BigGraph: operators, embedder, training, evaluation and export. Knows nothing of the logs.

Importing this package is light; torch is loaded by the functions that need it.
"""

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifacts.formats.graph import Relation
from pbg_transra.backends.fused.levels import chosen_level
from pbg_transra.backends.tail_bias import types_on_both_sides
from pbg_transra.config import EvaluateConfig, ExportConfig, FreezeConfig, ModelConfig
from pbg_transra.defaults import with_defaults
from pbg_transra.pbg.committed import committed_files, has_checkpoint
from pbg_transra.ranks.place import Place, place_of
from pbg_transra.reports import (
    Adoption,
    BucketDone,
    Diverged,
    ExportReport,
    FollowReport,
    Inferred,
    ScalePlan,
    TrainingPlan,
    TrainProgress,
    TrainReport,
    ValidationDone,
    WarmStart,
)
from pbg_transra.start.published import SPACE, PublishedModel

if TYPE_CHECKING:
    from pbg_transra.ranks.host import Host
    from pbg_transra.ranks.remote import FirstRank

# torchbiggraph 1.0.0 imports pkg_resources, which setuptools announces to remove (hence our setuptools<81).
warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
warnings.filterwarnings("ignore", message="TypedStorage is deprecated")

__all__ = [
    "SPACE",
    "Adoption",
    "BucketDone",
    "Diverged",
    "EvaluateConfig",
    "ExportConfig",
    "ExportReport",
    "FollowReport",
    "FreezeConfig",
    "Inferred",
    "ModelConfig",
    "Place",
    "PublishedModel",
    "ScalePlan",
    "TrainProgress",
    "TrainReport",
    "TrainingPlan",
    "ValidationDone",
    "WarmStart",
    "adopt_checkpoint",
    "adopt_run",
    "compare_exports",
    "chosen_level",
    "committed_files",
    "config_module",
    "evaluate",
    "export_bytes",
    "export_embeddings",
    "export_memory",
    "follow",
    "has_checkpoint",
    "hosted",
    "infer_entities",
    "met",
    "names_note",
    "place_of",
    "plan_scale",
    "plan_training",
    "require_device",
    "tail_bias_fits",
    "train",
    "types_on_both_sides",
    "with_defaults",
]


def plan_training(
    graph_dir: Path,
    config: ModelConfig,
    start: Path | None,
    interrupted: Path | None,
    scratch: Path,
    restart: bool = False,
) -> TrainingPlan:
    """What a training will take; measures this machine for a second or two.

    `start`: the checkpoint of stock PBG to begin with. `interrupted`: the training to go on with or, at a `restart`,
    what is removed before the first step. `scratch`: where the model will lie. Raises DataError for names that the
    graph lacks and for a start that does not fit, ResourceError where the machine or its GPU is too small, ConfigError
    without the GPU that is asked for.
    """
    from pbg_transra.planning import plan

    return plan.plan_training(graph_dir, config, start, interrupted, scratch, restart)


def plan_scale(
    relations: Sequence[Relation],
    entities: Mapping[str, int],
    config: ModelConfig,
    export: ExportConfig,
    machines: int,
    memory: int,
    scratch: Path,
    whole: Collection[str] = (),
) -> ScalePlan:
    """What a training of any size would take, see `planning/scale.py`; measures this machine for a second or two."""
    from pbg_transra.planning import scale

    return scale.plan_scale(relations, entities, config, export, machines, memory, scratch, whole)


def require_device(config: ModelConfig) -> None:
    """Raises ConfigError where `model.device` asks for a GPU and there is none."""
    if config.device == "cuda":  # whoever asks for none does not wait for torch
        from pbg_transra.backends import choice

        choice.require_device(config)


def tail_bias_fits(graph_dir: Path, config: ModelConfig) -> bool:
    """Whether the anchors of a graph can have `tail_bias`: no type is on both their sides."""
    from artifacts.formats.graph import load_graph

    biased = config.model_copy(update={"tail_bias": True})
    possible = bool(config.anchors) and config.start_from is None
    return possible and not types_on_both_sides(load_graph(graph_dir).relations, biased)


def adopt_checkpoint(directory: Path, graph_dir: Path, config: ModelConfig, model_dir: Path) -> Adoption:
    """Puts a checkpoint of stock PBG where a training into `model_dir` looks for first values.

    Raises DataError for one of another graph or model, and for a NaN.
    """
    from pbg_transra.start import from_pbg

    return from_pbg.adopt_checkpoint(directory, graph_dir, config, model_dir)


def adopt_run(previous: PublishedModel, graph_dir: Path, config: ModelConfig, model_dir: Path) -> WarmStart:
    """Puts the values of a published run where a training into `model_dir` looks for first values, by id.

    Raises ConfigError for a model of another space, DataError for a checkpoint that cannot be read.
    """
    from pbg_transra.start import from_run

    return from_run.adopt_run(previous, graph_dir, config, model_dir)


def infer_entities(published: PublishedModel, export: Path, graph_dir: Path, out: Path) -> Inferred:
    """Writes vectors of the entities of a graph that a published run does not know: see `start/inferred.py`.

    `export` is that run's embeddings.h5. Raises DataError for one that cannot be read and for relations of other types.
    """
    from pbg_transra.start import inferred

    return inferred.infer_entities(published, export, graph_dir, out)


def train(
    graph_dir: Path,
    model_dir: Path,
    config: ModelConfig,
    report: Callable[[TrainProgress], None],
    on_bucket: Callable[[BucketDone], None],
    on_validation: Callable[[ValidationDone], None] = lambda done: None,
    host: "Host | None" = None,
) -> TrainReport:
    """Trains into `model_dir`, going on from what it holds; `report` is called by a thread of its own. With a `host`
    other machines train with this one.

    Raises DataError for a checkpoint of another model, Diverged (a DataError), TransraError when a worker dies,
    PeerError when another machine is gone.
    """
    from pbg_transra.training import train as training

    return training.train(graph_dir, model_dir, config, report, on_bucket, on_validation, host)


def hosted(place: Place, run: str, config: ModelConfig, graph: dict[str, Any]) -> "AbstractContextManager[Host]":
    """Rank 0 listens, and others find it, within the block. `graph`: what tells the graph of the run from others.

    Raises ConfigError for an address that cannot be had.
    """
    from pbg_transra.ranks import host
    from pbg_transra.ranks.identity import identity

    return host.hosted(place, run, identity(config, graph))


@contextmanager
def met(place: Place) -> "Iterator[FirstRank]":
    """Rank 0, for another one, which has waited for it. Raises PeerError when it does not come."""
    from pbg_transra.ranks import remote

    with remote.met(place) as first:
        yield first


def follow(
    first: "FirstRank",
    graph_dir: Path,
    model_dir: Path,
    config: ModelConfig,
    graph: dict[str, Any],
    report: Callable[[TrainProgress], None],
    on_bucket: Callable[[BucketDone], None],
) -> FollowReport:
    """Trains with rank 0 until the training is over; `graph` and `model_dir` are as that has them.

    Raises ConfigError where this rank is not like rank 0, PeerError when another is gone, and what `train` does.
    """
    from pbg_transra.ranks.identity import identity
    from pbg_transra.training import follow as following

    with first.joined(identity(config, graph)) as agreement:
        return following.follow(graph_dir, model_dir, config, first.place, agreement, report, on_bucket)


def evaluate(
    graph_dir: Path,
    model_dir: Path,
    model: ModelConfig,
    config: EvaluateConfig,
    progress: Callable[[str, float], None],
) -> dict[str, Any]:
    """Ranks held-out edges by the checkpoint in `model_dir`; returns the tree of metrics (`evaluation/report.py`).

    `progress` is told a label and the fraction of that label's work done. Raises DataError for a graph
    without training edges, a checkpoint of another graph and a NaN.
    """
    from pbg_transra.evaluation import report

    return report.evaluate(graph_dir, model_dir, model, config, progress)


def export_embeddings(
    graph_dir: Path,
    model_dir: Path,
    destination: Path,
    model: ModelConfig,
    export: ExportConfig,
    attributes: Mapping[str, Any],
    progress: Callable[[str, float], None],
) -> ExportReport:
    """Exports the checkpoint in `model_dir` into the empty directory `destination`.

    `attributes` gives config_hash, run_id and metrics; `progress` is told a label and the fraction done. Raises
    DataError for a checkpoint of another graph and for a vector with a NaN.
    """
    from pbg_transra.export import export as exporting

    return exporting.export_embeddings(graph_dir, model_dir, destination, model, export, attributes, progress)


def compare_exports(current: Path, previous: Path) -> dict[str, Any]:
    """How stable vectors are from one export (a path of an embeddings.h5) to another: see `export/stability.py`.

    Raises DataError for what is no export.
    """
    from pbg_transra.export import stability

    return stability.stability(current, previous)


def export_bytes(graph_dir: Path, model: ModelConfig, export: ExportConfig) -> int:
    """About how much disk an export takes."""
    from pbg_transra.export import size

    return size.export_bytes(graph_dir, model, export)


def export_memory(graph_dir: Path, model: ModelConfig, export: ExportConfig) -> int:
    """Memory of an export that grows with the graph."""
    from pbg_transra.export import size

    return size.export_memory(graph_dir, model, export)


def config_module(graph_dir: Path, model_dir: Path, model: ModelConfig, split: str) -> str:
    """Returns the text of a module that PyTorch-BigGraph's own programs read as their config."""
    from pbg_transra.pbg import config_module

    return config_module.config_module(graph_dir, model_dir, model, split)


def names_note(graph_dir: Path) -> str | None:
    """Returns a line when PBG's TSV export will not find the names of the entities."""
    from pbg_transra.pbg import config_module

    return config_module.names_note(graph_dir)
