"""Inputs by what they hold: a file that was moved, touched or put back from a backup is the file that it was.

    .inputs.json   in a workspace: of each input, by name, the contents that it has had (`Content`)

An input's name is its path below the root, so that a root may move; outside of the root, the path as it was declared;
of a store, the URL. What stands for a content in a fingerprint is the first state that it was seen in: size, time and,
of Parquet, the footer. A file in a state that is on record is not read. One of the size of a recorded content, and in
another state, is read once, and its SHA-256 says whether it is that content. All entries are facts about bytes, so a
kill that loses the file costs a reading at most.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from artifacts.files.intact import file_digests
from artifacts.files.json_file import read_json
from artifacts.files.publish import write_json
from artifacts.sources.inputs import file_state
from artifacts.sources.stores import Stores
from pipeline.workspace.workspace import INPUTS

CONTENTS = 8  # of an input that are kept, the newest: a log that is written anew every night has one a night

State = dict[str, Any]


@dataclass(frozen=True)
class Content:
    """What an input held: its SHA-256, the state in which that was first seen, and the one in which it was last."""

    sha256: str
    first: State
    last: State


@dataclass
class Inputs:
    """What a command knows of the inputs of a workspace, below `root` and in `stores`."""

    workspace: Path
    root: Path
    stores: Stores
    _learned: bool = field(default=False, init=False)

    @cached_property
    def _known(self) -> dict[str, list[Content]]:
        path = self.workspace / INPUTS
        return read_json(path, dict[str, list[Content]], "what inputs held; remove it") if path.exists() else {}

    def name(self, path: Path) -> str:
        """What a file is called wherever the root lies."""
        if stored := self.stores.state(path):
            return str(stored["path"])
        return str(path.relative_to(self.root) if path.is_relative_to(self.root) else path)

    def states(self, paths: Iterable[Path]) -> dict[str, State]:
        """By name, the state that stands for the content of each file: an equal one, an equal content."""
        found = {path: self._state(path) for path in paths}
        self._learn({path: state for path, state in found.items() if self._may_be_known(path, state)})
        contents = {path: self._content(path, state) for path, state in found.items()}
        return {self.name(path): content.first if (content := contents[path]) else found[path] for path in found}

    def digests(self, paths: Iterable[Path], states: Mapping[str, State]) -> dict[str, str]:
        """SHA-256 by name, read where it is not on record; of files that still are in the `states` that stood for them:
        of others nobody knows what was read."""
        present = [path for path in paths if path.exists()]
        now = self.states(present)
        same = {path: self._state(path) for path in present if now[self.name(path)] == states[self.name(path)]}
        self._learn({path: state for path, state in same.items() if self._content(path, state) is None})
        return {self.name(path): one.sha256 for path, state in same.items() if (one := self._content(path, state))}

    def save(self) -> None:
        """Keeps what was learned; the caller holds the workspace."""
        if self._learned:
            write_json(self.workspace / INPUTS, {name: list(map(asdict, of)) for name, of in self._known.items()})
            self._learned = False

    def save_if_free(self, lock: Path) -> None:
        """Keeps it where nobody holds the workspace, and it may be written: who only looks turns nobody away."""
        if self._learned and all(os.access(path, os.W_OK) for path in (self.workspace, lock)):
            try:
                with FileLock(lock, timeout=0):
                    self.save()
            except Timeout:
                return  # who holds it looks at the same files, and keeps what it learns

    def _state(self, path: Path) -> State:
        return self.stores.state(path) or file_state(path)

    def _content(self, path: Path, state: State) -> Content | None:
        contents = self._known.get(self.name(path), [])
        return next((one for one in contents if state in (one.first, one.last)), None)

    def _may_be_known(self, path: Path, state: State) -> bool:
        """Whether reading the file may tell that it is on record; a store's version has told already."""
        if "version" in state or self._content(path, state):
            return False
        return any(one.first["bytes"] == state["bytes"] for one in self._known.get(self.name(path), []))

    def _learn(self, found: Mapping[Path, State]) -> None:
        """Reads files; what has changed meanwhile is not learned."""
        digests = file_digests(found)
        for path, state in found.items():
            if self._state(path) == state:
                contents = self._known.setdefault(self.name(path), [])
                before = next((one for one in contents if one.sha256 == digests[path]), None)
                others = [one for one in contents if one != before]
                newest = replace(before, last=state) if before else Content(digests[path], state, state)
                self._known[self.name(path)] = [*others, newest][-CONTENTS:]
                self._learned = True
