"""`on_success` and `on_failure`: a command of the config's, told in its environment what ours came to.

It changes neither exit code nor publication: whether it fails, hangs or cannot be started, a line says so.
"""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from artifacts.machine.interrupts import SIGNALS
from artifacts.printable import one_line
from pipeline.output.console import Console

HOOK_SECONDS = 60.0  # after which it is killed, with all that it has started
_MOST = 2000  # characters of a fact, and bytes of what a hook has said last


def run_hook(
    name: str, command: Sequence[str], facts: Mapping[str, str], root: Path, console: Console
) -> dict[str, object]:
    """Runs a hook in `root`, with `facts` in its environment, and returns what the log says of it.

    Its arguments may hold a secret, such as the address of a web hook: they are not written anywhere.
    """
    began = time.monotonic()
    said, failed = _run(command, {key: one_line(value)[:_MOST] for key, value in facts.items()}, root)
    if failed:
        console.warn(f"{name}: {command[0]} {failed}; the exit code stays {facts['TRANSRA_EXIT_CODE']}")
    seconds = time.monotonic() - began
    return {"hook": name, "program": command[0], "failed": failed, "said": said, "seconds": seconds}


def _run(command: Sequence[str], facts: Mapping[str, str], root: Path) -> tuple[str, str | None]:
    """The last line that a command prints, and what went wrong with it."""
    try:
        with _output() as output, _Hook() as hook:
            failed = hook.run(command, {**os.environ, **facts}, root, output)
            return _last_line(output), failed
    except (OSError, ValueError) as error:  # it is not there, no program, or its environment is too large
        return "", f"cannot be run ({one_line(str(error))})"


class _Hook:
    """A process in a session of its own. As a context, a signal to us ends it, also while it starts, and does no more:
    what it is told of is done."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._interrupted = False

    def __enter__(self) -> "_Hook":
        heard = [one for one in SIGNALS if signal.getsignal(one) is not signal.SIG_IGN]
        self._before = {one: signal.signal(one, self._interrupt) for one in heard}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _interrupt(self, number: int, frame: object) -> None:
        self._interrupted = True
        self._kill()

    def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def run(self, command: Sequence[str], environment: Mapping[str, str], root: Path, output: IO[bytes]) -> str | None:
        """Waits for the command; returns what went wrong with it."""
        self._process = subprocess.Popen(
            command,
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        if self._interrupted:  # while it was being started
            self._kill()
        try:
            code = self._process.wait(HOOK_SECONDS)
        except subprocess.TimeoutExpired:
            self._kill()
            self._process.wait()
            return f"was killed after {HOOK_SECONDS:g} s"
        if self._interrupted:
            return "was interrupted"
        return None if code == 0 else f"ended with exit code {code}"


def _output() -> IO[bytes]:
    """A file for what a hook prints: a pipe would be held open by what it leaves running."""
    try:
        return tempfile.TemporaryFile()
    except OSError:  # the disk may be what it is to tell of
        return open(os.devnull, "w+b")


def _last_line(output: IO[bytes]) -> str:
    output.seek(max(0, output.seek(0, os.SEEK_END) - _MOST))
    lines = output.read().decode(errors="replace").splitlines()
    return lines[-1] if lines else ""
