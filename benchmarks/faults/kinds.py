"""What is done to a command, and which answers are documented for it."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.bounds import (
    address_space,
    cgroup_limit,
    clock_back,
    file_sizes,
    memory_group,
    other_user,
)
from benchmarks.faults.commands import Command
from benchmarks.faults.reader import Reader
from benchmarks.faults.world import Situation

PAGE = 4096  # bytes: what a file of a tmpfs takes is a multiple
DONE, DIED, FULL, LOCKED, INTERRUPTED = 0, 70, 73, 75, 130
# Native libraries end a process that can have no more address space, as they like: no word of ours can be had.
OUT_OF_MEMORY = frozenset({DIED, -signal.SIGABRT, -signal.SIGSEGV})


@dataclass(frozen=True)
class Attack:
    """What a fault works with: the undisturbed command takes `seconds`, its largest file `largest` bytes, and the
    workspace is larger by `grown` bytes after it."""

    situation: Situation
    workspace: Path
    said: Path
    seconds: float
    largest: int
    grown: int
    reader: Reader
    rng: random.Random

    def start(self, said: Path | None = None, bound: Callable[[], object] = lambda: None) -> Command:
        return Command.start(self.situation.arguments(self.workspace), said or self.said, bound)


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

    answers = {DONE, -number, DIED} if name == "KILL" else {DONE, INTERRUPTED}  # 70: a process of its own died
    if to == "one":
        answers |= {DIED, INTERRUPTED, -number}
    return Fault(f"SIG{name} to {to}{' twice' if twice else ''}", frozenset(answers), inflict)


def limited(attack: Attack) -> list[Command]:
    size = int(10 ** attack.rng.uniform(3, len(str(attack.largest))))
    return [attack.start(bound=file_sizes(size))]


def at_once(number: int) -> Callable[[Attack], list[Command]]:
    """So many commands, which begin at random moments of the first one, and no later than a second after it."""

    def inflict(attack: Attack) -> list[Command]:
        commands = []
        for index in range(number):
            commands.append(attack.start(attack.said.with_name(f"said-{index}")))
            time.sleep(attack.rng.uniform(0, min(1.0, attack.seconds)) / (number - 1))
        return commands

    return inflict


def through_a_link(attack: Attack) -> list[Command]:
    """The workspace is a symlink, and a signal comes at a random moment."""
    with attack.reader.paused():
        place = attack.workspace.with_name("elsewhere")
        attack.workspace.rename(place)
        attack.workspace.symlink_to(place)
    command = attack.start()
    if command.wait(attack.rng.uniform(0, attack.seconds)) is None:
        command.signal(attack.rng.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT]), "group")
    return [command]


def foreign(attack: Attack) -> list[Command]:
    return [attack.start(bound=other_user)]


def jumping_clock(attack: Attack) -> list[Command]:
    """The clock jumps back by up to ten days at a random moment, before all runs of the workspace perhaps."""
    after, by = attack.rng.uniform(-0.1, attack.seconds), 10 ** attack.rng.uniform(0, 6)
    return [attack.start(bound=clock_back(after, by))]


def little_address_space(attack: Attack) -> list[Command]:
    return [attack.start(bound=address_space(int(10 ** attack.rng.uniform(6, 8.5))))]


def little_memory(attack: Attack) -> list[Command]:
    """A cgroup whose processes the kernel kills when they take more."""
    limit = cgroup_limit()
    assert limit is not None
    with memory_group(limit, int(10 ** attack.rng.uniform(6.5, 8.3))) as bound:
        command = attack.start(bound=bound)
        command.wait()
        command.left()
    return [command]


def full_disk(attack: Attack, files: bool = False) -> list[Command]:
    """A file system of its own with little room, or place for few more files; it has enough when the command is
    repeated."""
    found = {path.lstat().st_ino: path.lstat() for path in [attack.workspace, *attack.workspace.rglob("*")]}
    used = sum(-(-stat.st_size // PAGE) * PAGE for stat in found.values())
    with attack.reader.paused():
        size = used + 2 * PAGE + int(attack.rng.random() * attack.grown)
        options = f"nr_inodes={len(found) + attack.rng.randint(2, 100)}" if files else f"size={size}"
        mount("-t", "tmpfs", "-o", options, "tmpfs", str(attack.workspace))
        subprocess.run(["cp", "-a", f"{attack.situation.before}/.", str(attack.workspace)], check=True)
    command = attack.start()
    command.wait()
    mount("-o", "remount,size=1g,nr_inodes=100000", str(attack.workspace))
    return [command]


def few_files(attack: Attack) -> list[Command]:
    return full_disk(attack, files=True)


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
    done_or_full = frozenset({DONE, FULL})
    found = [
        *(signals("KILL", to) for to in ("main", "one", "group")),
        *(signals(name, to) for name in ("TERM", "INT", "HUP") for to in ("main", "group")),
        *(signals(name, to, twice=True) for name in ("TERM", "INT") for to in ("main", "group")),
        signals("TERM", "one"),
        Fault("limit on the size of files", done_or_full, limited),
        Fault("limit on the address space", done_or_full | OUT_OF_MEMORY, little_address_space),
        Fault("two at once", frozenset({DONE, LOCKED}), at_once(2)),
        Fault("ten at once", frozenset({DONE, LOCKED}), at_once(10)),
        Fault("a signal, through a symlink", frozenset({DONE, INTERRUPTED, DIED, -signal.SIGKILL}), through_a_link),
        Fault("clock jumps back", frozenset({DONE}), jumping_clock),
    ]
    if os.geteuid() == 0:
        found.append(Fault("another user's workspace", done_or_full, foreign))
    if may_mount():
        found.append(Fault("full disk", done_or_full, full_disk))
        found.append(Fault("no more files", done_or_full, few_files))
        found.append(Fault("read-only workspace", done_or_full, read_only))
    if limit := cgroup_limit():
        limit.parent.rmdir()
        found.append(Fault("little memory (cgroup)", done_or_full | {DIED, -signal.SIGKILL}, little_memory))
    return found
