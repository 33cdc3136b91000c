"""What a build reads: everything, or what is left to count after the previous graph, if that has a ledger."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from artifacts.differences import differences
from artifacts.errors import ConfigError, DataError
from artifacts.expressions.column_types import NO_TYPE
from artifacts.sources.source_files import Files
from partitioning.config.sections import GraphConfig
from partitioning.events.relations import NamedRelation
from partitioning.ledger.ledger import (
    FileStates,
    Ledger,
    counted_config,
    file_states,
    load_ledger,
    relative,
    training_until,
)
from partitioning.sources.formats.frames import Frames

_WAY_OUT = "count all files again with --rebuild"


@dataclass(frozen=True)
class Continuation:
    """What a build reads, and after what.

    Attributes:
        config: the graph's, or one whose relations name only the sources that have unread rows
        files: those to read, by source
        states: of all files of every source, where a ledger is kept
        previous: the graph whose ids keep partition and offset
        counted: what the ledger of `previous` has, so that only the rest is read; empty when everything is
        recounted: why a ledger of `previous` is not continued
        frames: tables in place of files, by source; a graph with a ledger has none
    """

    config: GraphConfig
    files: dict[str, Files]
    states: dict[str, FileStates]
    previous: Path | None
    counted: Ledger
    recounted: list[str]
    frames: Frames = field(default_factory=dict)

    @property
    def counted_graph(self) -> Path | None:
        """The previous graph, if its edges are counted and only new events are read."""
        return self.previous if self.counted.files else None

    @property
    def files_settled(self) -> int:
        """How many files are not read, since the ledger has them."""
        return sum(len(files) - len(self.files[name]) for name, files in self.states.items())


def continue_from(
    config: GraphConfig,
    root: Path,
    files: dict[str, Files],
    previous: Path | None,
    frames: Frames,
    known: Mapping[Path, dict[str, Any]],
) -> Continuation:
    """What is left to count of the `files` of each source after the graph in `previous`, or everything. `known`: the
    states that stand for the contents of files, where those are not the present ones.

    Raises DataError when a file of its ledger changed or is gone, and ConfigError when one of its relations is gone or
    joins other types.
    """
    of_edges = {name: found for name, found in files.items() if name not in config.label_sources}
    states = file_states(of_edges, root, known) if config.append_only else {}
    ledger = load_ledger(previous) if previous and config.append_only else None
    if ledger is None:
        return Continuation(config, files, states, previous, Ledger.empty(), [], frames)
    _refuse_other_relations(ledger, config)
    _refuse_other_files(ledger, config, states)
    if reasons := list(_reasons(ledger, config, states)):
        return Continuation(config, files, states, previous, Ledger.empty(), reasons)
    return Continuation(_appended(config), _unread(ledger, config, root, files), states, previous, ledger, [])


def _refuse_other_relations(ledger: Ledger, config: GraphConfig) -> None:
    now = {(relation.label, relation.lhs.type, relation.rhs.type) for relation in config.relations}
    lines = []
    for counted in ledger.config["relations"]:
        label = counted["name"] or f"by {counted['relation_column']}"
        lhs, rhs = counted["lhs"]["type"], counted["rhs"]["type"]
        others = [f"'{left}' and '{right}'" for name, left, right in sorted(now) if name == label]
        if (label, lhs, rhs) not in now:
            what = f"joins {' or '.join(others)}" if others else "is gone or has another name"
            lines.append(f"graph.relations: '{label}' {what}, but was counted as joining '{lhs}' and '{rhs}'")
    if lines:
        raise ConfigError(*(f"{line}; set it back, or {_WAY_OUT}" for line in lines))


def _refuse_other_files(ledger: Ledger, config: GraphConfig, states: dict[str, FileStates]) -> None:
    lines = []
    for name in (name for name, source in config.sources.items() if source.append_only):
        for path, counted in ledger.files.get(name, {}).items():
            if (state := states[name].get(path)) != counted:
                what = "; ".join(differences(counted, state)) if state else "is gone"
                lines.append(f"{path}: {what}, but graph.sources.{name} is append_only and has counted it")
    if lines:
        more = f" (and {len(lines) - 1} more files)" if len(lines) > 1 else ""
        raise DataError(f"{lines[0]}{more}; put it back, or {_WAY_OUT}")


def _reasons(ledger: Ledger, config: GraphConfig, states: dict[str, FileStates]) -> Iterator[str]:
    """Why what was counted is not what the config says now."""
    yield from differences(ledger.config, counted_config(config), "graph.")
    for name, source in config.sources.items():
        if not source.append_only and states.get(name, {}) != ledger.files.get(name, {}):
            yield f"graph.sources.{name} has other files or others' content"
    before, now = ledger.valid_from, training_until(config)
    if before is not None and now is not None and now < before:
        yield f"graph.split.time.valid_from went back, from {before} to {now} s since 1970"


def _appended(config: GraphConfig) -> GraphConfig:
    """The config with the append-only sources of each relation: all rows of the others are in the graph."""
    kept = [
        relation.model_copy(update={"source": [s for s in relation.sources if config.sources[s].append_only]})
        for relation in config.relations
    ]
    return config.model_copy(update={"relations": kept})


def _unread(ledger: Ledger, config: GraphConfig, root: Path, files: dict[str, Files]) -> dict[str, Files]:
    """New files of the append-only sources, and all files of lists and of labels."""
    return {
        name: {path: keys for path, keys in found.items() if _is_unread(ledger, config, name, relative(path, root))}
        for name, found in files.items()
    }


def _is_unread(ledger: Ledger, config: GraphConfig, source: str, path: str) -> bool:
    return source in {*config.lists, *config.label_sources} or path not in ledger.files[source]


def next_ledger(
    config: GraphConfig,
    continuation: Continuation,
    types: dict[str, dict[str, str]],
    relations: list[NamedRelation],
    without_consent: dict[str, int],
) -> Ledger:
    """The ledger of the graph that was built; `types` are those of the sources that were read."""
    types = {**types, **_merged(continuation.counted.types, types)}
    return Ledger(
        config=counted_config(config),
        valid_from=training_until(config),
        files=continuation.states,
        types={name: types[name] for name, s in config.sources.items() if s.append_only and name in types},
        relations={relation.name: relation.declared for relation in relations},
        without_consent=without_consent,
    )


def _merged(counted: dict[str, dict[str, str]], read: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Types as they were counted; those of a column that had no value yet are what has been read since."""
    merged = {}
    for name, types in counted.items():
        now = read.get(name, {})
        merged[name] = {c: now.get(c, kind) if kind == NO_TYPE else kind for c, kind in types.items()}
    return merged
