"""Commands in sessions of their own, forked from this process, which has imported everything: they begin at once."""

import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas
import psutil
import torch._dynamo

import partitioning.build
import pbg_transra.evaluation.evaluation
import pbg_transra.export.export
import pbg_transra.planning.plan
import pbg_transra.training.train
import pipeline.running.runner
import ranker.experiment.ranking
import ranker.plan
from pipeline.cli import main

# What commands import when they come to it: a fork has it already.
IMPORTED = (
    partitioning.build,
    pbg_transra.evaluation.evaluation,
    pbg_transra.export.export,
    pbg_transra.planning.plan,
    pbg_transra.training.train,
    pipeline.running.runner,
    ranker.experiment.ranking,
    ranker.plan,
    pandas,
    torch._dynamo,
)
LONGEST = 300  # seconds in which a command must have answered, on a busy machine, too


@dataclass
class Command:
    """A command that runs. `said` is where its stdout and stderr go."""

    pid: int
    said: Path
    began: float
    _answer: int | None = None

    @classmethod
    def start(cls, arguments: Sequence[str], said: Path, file_bytes: int | None = None) -> "Command":
        """Forks, and returns when the command is about to begin. `file_bytes`: the size that no file may exceed."""
        begun, begins = os.pipe()
        began = time.time()
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            os.setsid()
            _child(arguments, said, file_bytes, begins)
        os.close(begins)
        os.read(begun, 1)
        os.close(begun)
        return cls(pid, said, began)

    def wait(self, seconds: float = LONGEST) -> int | None:
        """The exit code, negative for a signal; None when it still runs after so many seconds."""
        until = time.monotonic() + seconds
        while self._answer is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._answer = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > until:
                break
            else:
                time.sleep(0.005)
        return self._answer

    def members(self) -> list[psutil.Process]:
        """What lives in its session."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, ProcessLookupError):
                if os.getsid(process.pid) == self.pid and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def signal(self, number: int, to: str) -> None:
        """Sends a signal to the `main` process, to `one` of its others, or to the whole `group`."""
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if to == "group":
                os.killpg(self.pid, number)
            others = [process for process in self.members() if process.pid != self.pid] if to == "one" else []
            if to == "main" or (to == "one" and not others):
                os.kill(self.pid, number)
            for process in others[:1]:
                process.send_signal(number)

    def left(self) -> list[str]:
        """Processes and shared memory that have outlived it."""
        until = time.monotonic() + 10
        while (alive := self.members()) and time.monotonic() < until:
            time.sleep(0.05)
        shared = [
            path.name
            for path in Path("/dev/shm").glob(f"torch_{self.pid}_*")
            if path.stat().st_mtime >= self.began  # numbers of processes come again
        ]
        return [f"process {process.pid}" for process in alive] + shared


def _child(arguments: Sequence[str], said: Path, file_bytes: int | None, begins: int) -> None:
    """The command, to the end of the process: interpreter and library tidy up as ever."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stdin.close()
    if file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    os.write(begins, b".")
    code = 1
    try:
        code = main(list(arguments))
    except BaseException:
        traceback.print_exc()
    finally:
        end(code)


def end(code: int) -> None:
    """Ends a forked process as the end of a program does, so far as that can be seen from within."""
    import atexit

    with suppress(BaseException):
        atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def undisturbed(arguments: Sequence[str], said: Path) -> float:
    """Runs a command to its end and returns its seconds. Raises RuntimeError unless it succeeds."""
    began = time.perf_counter()
    answer = Command.start(arguments, said).wait()
    if answer != 0:
        raise RuntimeError(f"{' '.join(arguments)} answered {answer}: {said.read_text()[-2000:]}")
    return time.perf_counter() - began
