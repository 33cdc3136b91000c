"""Commands of several machines as forks of this process, which have torch already; in network namespaces, too."""

import ctypes
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tests.worlds.required import lacks

PATIENCE = 600.0  # seconds: a machine may be busy with other things
CLONE_NEWNET = 0x40000000  # linux/sched.h
NAMESPACES = {0: f"transra-a-{os.getpid()}", 1: f"transra-b-{os.getpid()}"}  # another process's tests have others
ADDRESSES = {0: "10.77.0.1", 1: "10.77.0.2"}


class Fork:
    """A process that runs `main`, whose answer is its exit code, and says what it says in the file `said`."""

    def __init__(self, main: Callable[[], int], said: Path, namespace: str | None = None) -> None:
        self._said = said
        self.process = multiprocessing.get_context("fork").Process(target=_live, args=(main, said, namespace))
        self.process.start()

    def end(self) -> tuple[int, str]:
        """Exit code, and what was said."""
        self.process.join(PATIENCE)
        assert self.process.exitcode is not None, f"it does not end; {self._said.read_text()}"
        return self.process.exitcode, self._said.read_text()

    def signal(self, number: signal.Signals) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)


def _live(main: Callable[[], int], said: Path, namespace: str | None) -> None:
    if namespace is not None:
        with open(f"/var/run/netns/{namespace}") as file:
            assert ctypes.CDLL(None).setns(file.fileno(), CLONE_NEWNET) == 0
    handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(handle, stream)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    code = main()
    sys.stdout.flush()
    os._exit(code)


F = TypeVar("F", bound=Fork)


@contextmanager
def ranks(*started: F) -> Iterator[tuple[F, ...]]:
    """They are gone after the block, however it ends."""
    try:
        yield started
    finally:
        for one in started:
            if one.process.exitcode is None:
                one.process.kill()
                one.process.join()


def until(condition: Callable[[], Any], what: str) -> Any:
    """Waits for it, and returns what it found."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, f"{what}: waited in vain"
        time.sleep(0.05)
    return found


@contextmanager
def two_namespaces() -> Iterator[None]:
    """Two network namespaces with an address each, joined by a pair of virtual cards; no loopback is up in them."""
    if why := _refused(("netns", "add", NAMESPACES[0])):
        lacks("NAMESPACES", f"network namespaces cannot be made ({why}); root can, with iproute2")
    try:
        ip("netns", "add", NAMESPACES[1])
        cards = [("transra-0", "netns", NAMESPACES[0]), ("transra-1", "netns", NAMESPACES[1])]
        ip("link", "add", *cards[0], "type", "veth", "peer", "name", *cards[1])
        for rank, name in NAMESPACES.items():
            ip("-n", name, "addr", "add", f"{ADDRESSES[rank]}/24", "dev", f"transra-{rank}")
            ip("-n", name, "link", "set", f"transra-{rank}", "up")
        yield
    finally:
        for name in NAMESPACES.values():
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def _refused(words: Sequence[str]) -> str:
    """What `ip` has against it; nothing where it does it."""
    if os.getuid() != 0 or shutil.which("ip") is None:
        return "not root, or no ip"
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    return (done.stderr.strip() or f"exit code {done.returncode}") if done.returncode else ""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
