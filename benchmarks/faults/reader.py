"""A reader that opens what is published again and again while commands are attacked."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from artifacts.embeddings import Embeddings
from pipeline.workspace.workspace import Workspace


def published(workspace: Path) -> tuple[str, ...]:
    """The published run, digests of its vectors by type, and its other stages; nothing where nothing is published."""
    run = Workspace(workspace).latest
    if run is None:
        return ()
    vectors = Embeddings(run.directory("export") / "embeddings.h5")
    digests = [sha256(vectors.vectors(name).tobytes()).hexdigest() for name in vectors.types]
    return (run.id, *digests, *(stage for stage in ("evaluate", "rank") if run.record(stage)))


class Reader:
    """A process that reads until it is stopped. What it finds must be whole, and once published never be gone."""

    def __init__(self, workspace: Path, notes: Path) -> None:
        self.notes, self.pid = notes, os.fork()
        if self.pid == 0:
            _read(workspace, notes)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """It does not look while the workspace moves to another file system."""
        os.kill(self.pid, signal.SIGSTOP)
        yield
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> tuple[int, list[str]]:
        """How often it has read, and what was wrong."""
        os.kill(self.pid, signal.SIGTERM)
        os.waitpid(self.pid, 0)
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return lines.count("whole"), [line for line in lines if line != "whole"]


def _read(workspace: Path, notes: Path) -> None:
    before: tuple[str, ...] = ()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with notes.open("a", buffering=1) as file:
        while True:
            try:
                found = published(workspace)
                same = found[:1] == before[:1] and before
                gone = before and not found or same and found[: len(before)] != before
                file.write(f"{before} was published, then {found}\n" if gone else "whole\n")
                before = found
            except Exception as error:  # whatever a reader meets is what is looked for
                file.write(f"a reader met {type(error).__name__}: {error}\n".replace("\n", " ").strip() + "\n")
            time.sleep(0.05)
