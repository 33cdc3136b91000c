"""What is done to a command, and which answers are documented for it."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.commands import Command
from benchmarks.faults.reader import Reader
from benchmarks.faults.world import Situation

PAGE = 4096  # bytes: what a file of a tmpfs takes is a multiple
DONE, DIED, FULL, LOCKED, INTERRUPTED = 0, 70, 73, 75, 130


@dataclass(frozen=True)
class Attack:
    """What a fault works with: the undisturbed command takes `seconds`, and its largest file `largest` bytes."""

    situation: Situation
    workspace: Path
    said: Path
    seconds: float
    largest: int
    reader: Reader
    rng: random.Random

    def start(self, said: Path | None = None, file_bytes: int | None = None) -> Command:
        return Command.start(self.situation.arguments(self.workspace), said or self.said, file_bytes)


@dataclass(frozen=True)
class Fault:
    """`inflict` attacks and returns the commands; each must answer with one of `answers`."""

    name: str
    answers: frozenset[int]
    inflict: Callable[[Attack], list[Command]]


def signals(name: str, to: str, twice: bool = False) -> Fault:
    """A signal at a random moment, perhaps a second one within 150 ms."""
    number = signal.Signals[f"SIG{name}"]

    def inflict(attack: Attack) -> list[Command]:
        command = attack.start()
        if command.wait(attack.rng.uniform(0, attack.seconds)) is None:
            command.signal(number, to)
            if twice:
                time.sleep(attack.rng.uniform(0, 0.15))
                command.signal(number, to)
        return [command]

    answers = {DONE, -number, DIED} if name == "KILL" else {DONE, INTERRUPTED}
    if to == "one":
        answers |= {DIED, INTERRUPTED, -number}
    return Fault(f"SIG{name} to {to}{' twice' if twice else ''}", frozenset(answers), inflict)


def limited(attack: Attack) -> list[Command]:
    return [attack.start(file_bytes=int(10 ** attack.rng.uniform(3, len(str(attack.largest)))))]


def two_at_once(attack: Attack) -> list[Command]:
    first = attack.start()
    time.sleep(attack.rng.uniform(0, min(1.0, attack.seconds)))
    return [first, attack.start(attack.said.with_suffix(".second"))]


def full_disk(attack: Attack) -> list[Command]:
    """A file system of its own with little room; it has enough when the command is repeated."""
    files = (path for path in attack.workspace.rglob("*") if path.is_file() and not path.is_symlink())
    used = sum(-(-path.stat().st_size // PAGE) * PAGE for path in files)
    with attack.reader.paused():
        size = used + 4 * PAGE + int(attack.rng.random() ** 2 * 2 * attack.largest)
        mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(attack.workspace))
        subprocess.run(["cp", "-a", f"{attack.situation.before}/.", str(attack.workspace)], check=True)
    command = attack.start()
    command.wait()
    mount("-o", "remount,size=1g", str(attack.workspace))
    return [command]


def read_only(attack: Attack) -> list[Command]:
    mount("--bind", str(attack.workspace), str(attack.workspace))
    mount("-o", "remount,bind,ro", str(attack.workspace))
    command = attack.start()
    command.wait()
    subprocess.run(["umount", "--lazy", str(attack.workspace)], check=True)
    return [command]


def unmount(workspace: Path) -> None:
    """Takes a file system of its own away that a fault has put there."""
    if workspace.is_mount():
        subprocess.run(["umount", "--lazy", str(workspace)], check=True)


def mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def may_mount() -> bool:
    return os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0


def kinds() -> list[Fault]:
    """All faults that this machine allows."""
    found = [
        *(signals("KILL", to) for to in ("main", "one", "group")),
        *(signals(name, to) for name in ("TERM", "INT") for to in ("main", "group")),
        *(signals(name, "group", twice=True) for name in ("TERM", "INT")),
        signals("TERM", "main", twice=True),
        Fault("limit on the size of files", frozenset({DONE, FULL}), limited),
        Fault("two at once", frozenset({DONE, LOCKED}), two_at_once),
    ]
    if may_mount():
        found.append(Fault("full disk", frozenset({DONE, FULL}), full_disk))
        found.append(Fault("read-only workspace", frozenset({DONE, FULL}), read_only))
    return found
