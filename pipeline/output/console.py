"""What a person sees: progress bars on a terminal, one line per finished stage, nothing but failures under cron."""

import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from shutil import get_terminal_size
from textwrap import wrap
from threading import Event, Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, TextIO

from artifacts.printable import one_line, printable

if TYPE_CHECKING:
    from tqdm import tqdm

SILENT = 30  # seconds after which work without a bar says how far it is
LOOKS = 1.0  # seconds after which it is seen that a step has told nothing
STYLES = {"bold": "1", "red": "31", "green": "32", "yellow": "33"}
# Of a stage whose steps have no common unit: the share done, the time since it began and the time left.
STEPS = "{desc}: {percentage:3.0f}%|{bar:20}| {elapsed}<{remaining}{postfix}"

Tell = Callable[[str, float | None], None]


@dataclass
class Told:
    """The step that a stage is at, the fraction of its work that is done, where that is known, and since when."""

    stage: str
    step: str
    fraction: float | None
    since: float
    repeated: bool = False  # whether a line has said it by now

    def take(self, step: str, fraction: float | None) -> None:
        if (step, fraction) != (self.step, self.fraction):
            self.step, self.fraction, self.since, self.repeated = step, fraction, monotonic(), False

    def line(self) -> str:
        """A line for it; where it was said before, also for how long nothing else has been told."""
        done = "" if self.fraction is None else f", {self.fraction:.0%} done"
        still = f", for {monotonic() - self.since:.0f} s" if self.repeated else ""
        self.repeated = True
        return f"{self.stage}: {one_line(self.step)}{done}{still}"


@dataclass
class Console:
    """`quiet` prints only failures; `as_json` keeps stdout for one JSON object."""

    quiet: bool = False
    as_json: bool = False
    said: float = field(default_factory=lambda: monotonic(), init=False, compare=False)  # when a line was last printed

    def say(self, text: str, style: str | None = None) -> None:
        """Prints a text, in one of STYLES on a terminal. What it repeats of data has gone through `one_line`: line
        breaks are the caller's own."""
        if not self.quiet and not self.as_json:
            self.said = monotonic()
            write(text, sys.stdout, style)

    def note(self, text: str) -> None:
        """Prints a line, broken between words on a terminal; a pipe gets it as one."""
        width = get_terminal_size().columns
        for line in wrap(text, width, subsequent_indent="  ") if sys.stdout.isatty() else [text]:
            self.say(line)

    def heading(self, text: str) -> None:
        """Names what follows, for a person: a pipe gets the lines alone."""
        if sys.stdout.isatty():
            self.say(text, "bold")

    def result(self, value: dict[str, Any]) -> None:
        """The one JSON object of `--json`."""
        if self.as_json:
            write(json.dumps(value), sys.stdout)

    @property
    def hidden(self) -> bool:
        """Whether nobody watches."""
        return self.quiet or self.as_json or not sys.stderr.isatty()

    def warn(self, text: str) -> None:
        """Prints a line on stderr, also with --quiet: what a person should see, though work goes on."""
        write(f"transra: warning: {one_line(text)}", sys.stderr, "yellow")

    @contextmanager
    def bar(self, stage: str, unit: str, total: float | None = None) -> Iterator["tqdm"]:
        """A progress bar on stderr; silent where nobody watches."""
        from tqdm import tqdm

        bar_format = None if unit else STEPS
        with tqdm(
            desc=stage,
            total=total,
            unit=unit,
            unit_scale=True,
            disable=self.hidden,
            leave=False,
            dynamic_ncols=True,
            bar_format=bar_format,
        ) as bar:
            yield bar

    @contextmanager
    def lines(self, stage: str) -> Iterator["Tell"]:
        """Is told the name of the step and the fraction done, and says them where no bar is seen and nothing was said
        for half a minute: a file that hours of work write to stays short, and is never silent for long, also in a step
        that tells nothing."""
        told, ended = Told(stage, "at work", None, monotonic()), Event()

        def say_after_silence() -> None:
            if self.hidden and monotonic() - self.said >= SILENT:
                self.say(told.line())

        def tell(step: str, fraction: float | None) -> None:
            told.take(step, fraction)
            say_after_silence()

        def watch() -> None:
            while not ended.wait(LOOKS):
                say_after_silence()

        thread = Thread(target=watch, name="lines", daemon=True)
        thread.start()
        try:
            yield tell
        finally:
            ended.set()
            thread.join()

    @contextmanager
    def steps(self, stage: str) -> Iterator[Callable[[str, float], None]]:
        """A progress bar that is told the name of the step and the fraction done; where none is seen, `lines`."""
        if self.hidden:
            with self.lines(stage) as tell:
                yield tell
            return
        with self.bar(stage, "", total=1.0) as bar:

            def progress(step: str, fraction: float) -> None:
                bar.set_postfix_str(one_line(step), refresh=False)
                bar.update(fraction - bar.n)

            yield progress


def styled(text: str, stream: TextIO, style: str | None) -> str:
    """The text in a style, where the stream is a terminal that has such and nobody has said NO_COLOR."""
    plain = style is None or not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain or style is None else f"\x1b[{STYLES[style]}m{text}\x1b[0m"


def write(text: str, stream: TextIO, style: str | None = None) -> None:
    """Prints a text without the control characters of what it repeats. Where nobody reads any more, work goes on.

    Raises OSError for an output that cannot be written.
    """
    try:
        print(styled(printable(text), stream, style), file=stream, flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # else what is left is tried again at exit
        if not isinstance(error, BrokenPipeError):
            raise


def open_streams() -> None:
    """Gives standard streams that are closed to nothing, before a file of ours takes their numbers."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may know fewer characters than the data
