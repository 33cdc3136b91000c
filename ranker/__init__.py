"""CTR/CVR ranking with exported graph vectors: reads impressions and the HDF5 of an export. Knows nothing of PBG.

Importing this package is light; torch is loaded by `rank`, `fit` and `Scorer`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifacts.errors import ConfigError
from artifacts.sources.source_files import Files
from ranker.config.arms import chosen
from ranker.config.sections import RankerConfig
from ranker.data.log.files import impression_files
from ranker.training.reports import ImpressionsPrepared, Report, TrialBegan, TrialEnded, TrialValidated

if TYPE_CHECKING:
    from artifacts.sources.frame import Frame
    from ranker.data.ids.attributes import Attributes
    from ranker.data.ids.exports import Export
    from ranker.experiment.trained_arms import TrainedArms
    from ranker.plan import Plan
    from ranker.scoring.scorer import Scorer

__all__ = [
    "ImpressionsPrepared",
    "RankerConfig",
    "Report",
    "Scorer",
    "TrialBegan",
    "TrialEnded",
    "TrialValidated",
    "check_columns",
    "check_unseen",
    "check_where",
    "chosen",
    "explain_pair",
    "export_of",
    "fit",
    "impression_files",
    "metrics_table",
    "plan_ranking",
    "rank",
    "require_device",
    "require_free",
    "score_parquet",
    "trained_arms",
    "write_features",
]


def __getattr__(name: str) -> Any:
    """`Scorer` is loaded where it is used."""
    if name != "Scorer":
        raise AttributeError(f"module 'ranker' has no attribute '{name}'")
    from ranker.scoring.scorer import Scorer

    return Scorer


def export_of(run: Path) -> "Export":
    """The export of a run, to be ranked with. Raises DataError when it is broken or of another graph than the run's."""
    from ranker.data.ids.exports import Export

    return Export.of_run(run)


def check_where(config: RankerConfig, root: Path, pseudonyms: bool) -> list[str]:
    """Holds `where` against the columns of the log; returns what could not be checked, as the log cannot be read.

    `pseudonyms` says whether the graph has them in place of ids. Raises ConfigError for what is no condition on a row.
    """
    from ranker.data.log.where import unchecked

    return unchecked(config, root, pseudonyms)


def check_columns(config: RankerConfig, root: Path) -> list[str]:
    """Looks up the columns that the config names; returns what could not be checked, as the log cannot be read.

    Raises ConfigError for one that no file has, and for one of `counts` that a file lacks or that holds lists.
    """
    from ranker.data.log.named_columns import unchecked

    return unchecked(config, root)


def plan_ranking(config: RankerConfig, root: Path, exports: "Iterable[Export]", files: Files | None = None) -> "Plan":
    """Estimates what `rank` needs. Raises DataError for a log or an export that is missing or broken.

    `files` are those of `impression_files`; without them they are looked up.
    """
    from ranker import plan

    return plan.plan_ranking(config, root, [export.path for export in exports], files)


def metrics_table(metrics: dict[str, Any]) -> str:
    """The metrics tree below `rank` as a table for a person."""
    from ranker.evaluation.report import table

    return table(metrics)


def trained_arms(
    config: RankerConfig,
    root: Path,
    exports: "Mapping[str, Export]",
    ranking: Path,
    prepared: Path,
    progress: Callable[[str, float], None] = lambda step, fraction: None,
    files: Files | None = None,
) -> "TrainedArms":
    """The models that `rank` left in `ranking`, with the same config and exports, to be asked about other rows.

    Not of a ranking that left out ids to forget, or with pseudonyms. Raises DataError for a model that is missing.
    """
    from ranker.experiment.trained_arms import TrainedArms

    return TrainedArms(config, root, exports, ranking, prepared, progress, files)


def require_device(config: RankerConfig) -> None:
    """Raises ConfigError where `ranker.device` asks for a GPU and there is none."""
    if config.device == "cuda":  # whoever asks for none does not wait for torch
        from ranker.processes import group

        group.require_device(config.device)


def rank(
    config: RankerConfig,
    root: Path,
    exports: "Mapping[str, Export]",
    destination: Path,
    progress: Callable[[str, float], None],
    scalars: Path,
    impressions: "Frame | None" = None,
    forgotten: "Mapping[str, Sequence[str]] | None" = None,
    id_key: bytes | None = None,
    files: Files | None = None,
    prepared: Path | None = None,
    tell: Callable[[Report], None] = lambda report: None,
    earlier: tuple[Path, Mapping[str, str]] | None = None,
) -> dict[str, Any]:
    """Trains and judges the arms that a config compares in the existing directory `destination`.

    `exports` are by run name: the first is the one that arms use, the others are compared with it under `<arm>@<name>`.
    `progress` is told what is being done and its fraction done; `scalars` is where curves for TensorBoard go, if the
    config asks for them. `prepared` is a directory for the encoded impressions (<destination>/prepared): they stay for
    the next call, those of the last two sets of columns and exports. `tell` is told of every training and validation.
    `impressions` is a table in memory (a pandas DataFrame, an Arrow table, whatever has
    `__arrow_c_stream__`) that stands for the files of the config's `impressions`; it is read in blocks as they are, and
    errors call it `impressions`. `forgotten` are ids by entity type, as the graph has them: impressions of one in a
    slot of that type are left out, and in a list it counts as no id. `id_key` is the key of the graph's pseudonyms.
    `files` are those of `impression_files`; without them they are looked up.
    `earlier` is the directory `arms` of another ranking with the digests of its files: trainings that follow from the
    same are taken over.
    If a run is killed, the same call with the same destination resumes it, and a call with more arms, seeds or exports
    trains only those; trainings of an arm's last three settings stay. Returns the metrics tree below `rank`. Raises
    ConfigError for a graph that has seen the training labels, DataError for bad input.
    """
    from ranker.data.log.forgotten import Forgotten
    from ranker.experiment.ranking import rank_arms

    ids, records = Forgotten.of(forgotten or {}), prepared or destination / "prepared"
    given = (impressions, ids, id_key, files, earlier)
    return rank_arms(config, root, exports, destination, progress, scalars, records, tell, *given)


def check_unseen(
    config: RankerConfig,
    root: Path,
    graphs: "Mapping[str, Path]",
    forgotten: "Mapping[str, Sequence[str]]",
    id_key: bytes | None,
    files: Files,
) -> None:
    """Raises, of graphs by run and before any vectors are trained on them, what `rank` would raise of their times.

    Of the log, times are read and what says which rows count; `forgotten`, `id_key` and `files` are those of `rank`.
    """
    from artifacts.formats.graph import load_graph
    from ranker.data.ids.attributes import Unknown
    from ranker.data.log.forgotten import Forgotten
    from ranker.data.log.impression_log import ImpressionLog
    from ranker.data.log.windows import Windows

    log = ImpressionLog(config, root, None, Forgotten.of(forgotten), id_key, files, Unknown(config))
    Windows.of(log).check({name: load_graph(graph).window[1] for name, graph in graphs.items()})


def fit(
    config: RankerConfig,
    root: Path,
    export: "Export | None",
    destination: Path,
    progress: Callable[[str, float], None] = lambda step, fraction: None,
    impressions: "Frame | None" = None,
    forgotten: "Mapping[str, Sequence[str]] | None" = None,
    id_key: bytes | None = None,
    files: Files | None = None,
) -> dict[str, Any]:
    """Trains the arm that `config.fit` names on all days of the log, and makes `destination` what `Scorer` opens.

    The other arguments are those of `rank`. An earlier model in `destination` is replaced; until the new one is whole,
    `Scorer` refuses the directory. If a fit is killed, the same call resumes it. Returns what is told of the training.
    Raises as `rank`.
    """
    from ranker.data.ids.attributes import Attributes
    from ranker.data.log.forgotten import Forgotten
    from ranker.data.log.impression_log import ImpressionLog
    from ranker.experiment.fit import fit_arm

    ids = Forgotten.of(forgotten or {})
    attributes = Attributes.of(config, {} if export is None else {"": export}, ids)
    log = ImpressionLog(config, root, impressions, ids, id_key, files, attributes)
    return fit_arm(config, log, export, destination, progress, id_key)


def score_parquet(
    config: RankerConfig,
    directory: Path,
    source: str,
    out: Path,
    export: "Export",
    id_key: bytes | None,
    progress: Callable[[float], None],
) -> int:
    """Writes the predictions for the rows of Parquet files, see `ranker.scoring.parquet`.

    `export` has the graph of the slots that they have no column of.
    """
    from ranker.scoring.parquet import score_files

    def of_graph() -> "Attributes | None":
        return _attributes(config, directory, export)

    return score_files(directory, source, out, export.path, of_graph, id_key, progress)


def _attributes(config: RankerConfig, directory: Path, export: "Export") -> "Attributes | None":
    """What the graph says for the slots of the model in `directory`, whatever the config says by now."""
    from ranker.data.ids.attributes import Attributes
    from ranker.data.log.forgotten import Forgotten
    from ranker.scoring.manifest import Manifest

    slots = config.model_copy(update={"slots": Manifest.of(directory).slots})
    return Attributes.of(slots, {"": export}, Forgotten())


def explain_pair(
    config: RankerConfig,
    directory: Path,
    files: Files,
    types: tuple[str, str],
    ids: tuple[str, str],
    export: "Export",
    id_key: bytes | None,
) -> dict[str, Any] | None:
    """How the model in `directory` sees a user and an ad, given by entity types and ids as the log `files` has them.

    `export` has the graph of the slots that the log has no column of. Returns `row` (which impression stood for them),
    `predictions` with and without graph vectors, and `attention`; None where the log has neither of them. Raises
    ConfigError where the ranker has no slot of a type, or reads what its log does not have.
    """
    from ranker.data.log.parts import FilePart
    from ranker.data.log.where import Where
    from ranker.scoring.explained import explain
    from ranker.scoring.scorer import Scorer

    scorer = Scorer(directory, id_key)
    if id_key and (derived := [name for name, slot in scorer.manifest.slots.items() if slot.of]):
        raise ConfigError(f"ranker.slots.{derived[0]}: the graph's pseudonyms are no ids of the ranker's log")
    attributes = _attributes(config, directory, export)
    parts = [FilePart(path, keys) for path, keys in files.items()]
    found = explain(scorer, parts, types, ids, attributes, Where.of(config, parts, pseudonyms=id_key is not None))
    return None if found is None else asdict(found)


def require_free(out: Path, config: RankerConfig, root: Path, files: Files | None = None) -> None:
    """Raises ConfigError unless `write_features` may write to `out`; ResourceError where it cannot."""
    from ranker.features import file

    file.require_free(out, config, root, files)


def write_features(
    config: RankerConfig,
    root: Path,
    export: "Mapping[str, Export]",
    out: Path,
    progress: Callable[[str, float], None],
    forgotten: "Mapping[str, Sequence[str]] | None" = None,
    id_key: bytes | None = None,
    files: Files | None = None,
) -> dict[str, Any]:
    """Writes a Parquet file of the log's rows with what vectors, lists and counts say of each, for other models.

    `export` is one, by the name of its run; the other arguments are those of `rank`. The rows are in the log's order,
    those that `rank` would leave out are left out, and a null stands for what is not known. The file is made aside in
    blocks and renamed once it is whole. Returns how many rows and which columns it has, and what the export knows of
    their ids. Raises ConfigError for a file of somebody else's, names that clash, and a graph that has seen the labels;
    DataError for bad input and for ids of which the export knows too few.
    """
    from ranker.data.log.forgotten import Forgotten
    from ranker.features import file

    return file.write_features(config, root, export, out, progress, Forgotten.of(forgotten or {}), id_key, files)
