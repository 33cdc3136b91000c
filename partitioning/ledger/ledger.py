"""The ledger of a graph with append-only sources: the files that it has counted, and what counting on needs.

    graph/ledger/
      ledger.json                  files of every source, the config they were counted with (this module)
      held_<split>_<i>_<j>.npy     events of valid and test, which move when the dates do (held_out)
      units_<i>_<j>.npy            exact weights of a bucket's training edges, in their order (buckets)
      degrees_<type>_<part>.npy    training degrees (buckets.counts)
      ends_<side>_<part>.npy       which entities occur in which relations of training (buckets.counts)

Training edges themselves are read from the graph. Empty arrays of events and weights are left out.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from artifacts.files.json_file import read_json
from artifacts.files.publish import write_json
from artifacts.moment import epoch_seconds
from artifacts.sources.inputs import file_state
from partitioning.config.sections import GraphConfig

FORMAT = 3  # raised, too, when the same files would be counted otherwise
# What may change from graph to graph: files are compared one by one, and the dates of a split may move on.
_MAY_CHANGE = {
    "sources": {"__all__": {"path"}},
    "entities": {"__all__": {"label"}},  # of which no edge depends
    "split": {"time": {"valid_from", "test_from"}},
}

FileStates = dict[str, dict[str, Any]]  # by path, relative to the root


@dataclass(frozen=True)
class Ledger:
    """What was counted.

    Attributes:
        config: the section, without what may change
        valid_from: epoch seconds before which events are training for good; None without a split by time
        files: state of the files of each source
        types: column types of each append-only source that had files
        relations: position in the config of each relation, by name
        without_consent: rows left out for want of consent, by declared relation
    """

    config: dict[str, Any]
    valid_from: int | None
    files: dict[str, FileStates]
    types: dict[str, dict[str, str]]
    relations: dict[str, int]
    without_consent: dict[str, int]

    @classmethod
    def empty(cls) -> "Ledger":
        """Nothing was counted."""
        return cls({}, None, {}, {}, {}, {})


def ledger_path(graph_dir: Path) -> Path:
    return graph_dir / "ledger"


def counted_config(config: GraphConfig) -> dict[str, Any]:
    """What a config says of the edges of given files, as JSON."""
    found = config.model_dump(mode="json", exclude={**dict.fromkeys(config.without_effect, True), **_MAY_CHANGE})
    found["sources"] = {name: one for name, one in found["sources"].items() if name not in config.label_sources}
    return found


def training_until(config: GraphConfig) -> int | None:
    """Epoch seconds at which the training window ends; None without a split by time."""
    return epoch_seconds(config.split.time.valid_from) if config.split.time else None


def file_states(
    files: Mapping[str, Iterable[Path]], root: Path, known: Mapping[Path, dict[str, Any]]
) -> dict[str, FileStates]:
    """State of the files of each source: the one in `known`, or else as the file system has it."""
    return {
        name: {relative(path, root): known[path] if path in known else file_state(path) for path in paths}
        for name, paths in files.items()
    }


def relative(path: Path, root: Path) -> str:
    """The path as the ledger keeps it, so that a tree may move."""
    return os.path.relpath(path, root)


def load_ledger(graph_dir: Path) -> Ledger | None:
    """The ledger of a graph; None when it keeps none, or one of another format."""
    path = ledger_path(graph_dir) / "ledger.json"
    if not path.exists() or read_json(path, dict[str, Any], "a ledger").get("format") != FORMAT:
        return None
    return read_json(path, Ledger, "a ledger")


def save_ledger(graph_dir: Path, ledger: Ledger) -> None:
    write_json(ledger_path(graph_dir) / "ledger.json", {"format": FORMAT, **asdict(ledger)})
