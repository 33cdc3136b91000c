"""`transra init`: looks at logs and writes a first config for them, commented and ready to run."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from artifacts.errors import ConfigError, TransraError
from artifacts.files.publish import write_text
from artifacts.printable import one_line
from partitioning import SourceConfig, profile_of
from pipeline.config.loading import parsed, validate
from pipeline.output.console import Console
from pipeline.proposal.columns import Columns, columns_of, stems_of
from pipeline.proposal.log import Log, Notes, listed
from pipeline.proposal.proposal import Proposal, propose
from pipeline.proposal.sources import Found, find_sources
from pipeline.proposal.text import written

SCHEMA = "schema.json"


def init(given: Sequence[Path], out: Path, root: Path, assumed: str | None, console: Console) -> dict[str, Any]:
    """Writes `out`. Raises ConfigError where it is there already, DataError where nothing can be proposed."""
    if os.path.lexists(out):
        raise ConfigError(f"{out}: is there already, and is never overwritten; expected --out with another name")
    found, notes = _with_bytes(find_sources(given, root))
    with ExitStack() as opened, console.steps("init") as progress:
        logs = looked_at(found, opened, progress)
        proposal = propose(logs, assumed, notes)
        text = written(proposal, listed([str(path) for path in given]), _schema(out))
    _require_good(text)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, text)
    return _answer(proposal, out, console)


def _with_bytes(found: Sequence[Found]) -> tuple[list[Found], Notes]:
    """Those that are not empty, and notes of the others; all of them, where all are empty."""
    filled, notes = [one for one in found if any(path.stat().st_size for path in one.files)], Notes()
    for one in found if filled else ():
        if one not in filled:
            notes.add(None, f"{one.name}: holds nothing; the source is left out")
    return filled or list(found), notes


def looked_at(found: Sequence[Found], opened: ExitStack, progress: Any) -> list[Log]:
    """Every source with its columns' roles: a name can only be judged beside those of all sources."""
    profiles = {}
    for at, one in enumerate(found):
        progress(one.name, at / len(found))
        source = SourceConfig(path=list(one.paths))
        profiles[one.name] = opened.enter_context(profile_of(one.name, source, one.files))
    stems = {stem for profile in profiles.values() for stem in stems_of(profile.columns)}

    def columns(name: str) -> Columns:
        return columns_of(name, profiles[name].columns, stems)

    return [Log(one, columns(one.name), profiles[one.name]) for one in found]


def _schema(out: Path) -> str | None:
    return SCHEMA if (out.parent / SCHEMA).is_file() else None


def _require_good(text: str) -> None:
    """Nothing is written that `transra config check` would refuse."""
    try:
        validate(parsed(text))
    except (ConfigError, ValueError) as error:
        raise TransraError(
            f"init: proposed a config that is none ({one_line(str(error))}); please report the columns"
        ) from error


def _answer(proposal: Proposal, out: Path, console: Console) -> dict[str, Any]:
    sources, used = list(proposal.sources), [relation.name for relation in proposal.used]
    counts = f"sources: {len(sources)}, relations: {len(used)}, entity types: {len(proposal.types)}"
    console.say(f"init: {counts} -> {out}")
    for note in proposal.notes:
        console.note(f"init: not decided: {one_line(note)}")
    console.say(f"next: transra config check {out}")
    console.say(f"      transra run {out}")
    return {
        "out": str(out),
        "sources": sources,
        "relations": used,
        "entities": list(proposal.types),
        "undecided": list(proposal.notes),
    }
