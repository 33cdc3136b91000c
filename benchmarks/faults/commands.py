"""Commands in sessions of their own, forked from this process, which has imported everything: they begin at once."""

import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
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
import pipeline.running.clean
import pipeline.running.publication
import pipeline.running.purge
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
    pipeline.running.clean,
    pipeline.running.publication,
    pipeline.running.purge,
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
    def start(cls, arguments: Sequence[str], said: Path, bound: Callable[[], object] = lambda: None) -> "Command":
        """Forks, and returns when the command is about to begin. `bound` is called before, in its process."""
        temporary_of(said).mkdir(mode=0o777, exist_ok=True)
        begun, begins = os.pipe()
        began = time.time()
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            os.setsid()
            _child(arguments, said, bound, begins)
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

    def left(self, files: bool = True) -> list[str]:
        """Processes, shared memory and, if asked for, temporary `files` that have outlived it by seconds."""
        until = time.monotonic() + 20
        while (left := self._left(files)) and time.monotonic() < until:
            time.sleep(0.05)
        return left

    def _left(self, files: bool) -> list[str]:
        found = [f"process {process.pid}" for process in self.members()]
        for path in Path("/dev/shm").glob(f"torch_{self.pid}_*"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime >= self.began:  # numbers of processes come again
                    found.append(path.name)
        return found + [str(path) for path in temporary_of(self.said).rglob("*") if files]


def _child(arguments: Sequence[str], said: Path, bound: Callable[[], object], begins: int) -> None:
    """The command, to the end of the process: interpreter and library tidy up as ever."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stdin.close()
    tempfile.tempdir = os.environ["TMPDIR"] = str(temporary_of(said))
    sys.argv = ["transra", *arguments]
    bound()
    os.write(begins, b".")
    code = 1
    try:
        code = main()
    except BaseException:
        traceback.print_exc()
    finally:
        end(code)


def temporary_of(said: Path) -> Path:
    """The directory for temporary files of the command that says so."""
    return said.with_name(f"{said.name}.tmp")


def end(code: int) -> None:
    """Ends a forked process as the end of a program does, so far as that can be seen from within."""
    import atexit

    with suppress(BaseException):
        atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def undisturbed(arguments: Sequence[str], said: Path, expected: int = 0) -> float:
    """Runs a command to its end and returns its seconds. Raises RuntimeError unless it answers as expected."""
    began = time.perf_counter()
    answer = Command.start(arguments, said).wait()
    if answer != expected:
        raise RuntimeError(f"{' '.join(arguments)} answered {answer}: {said.read_text()[-2000:]}")
    return time.perf_counter() - began
