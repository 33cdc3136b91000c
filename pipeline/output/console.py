"""What a person sees: progress bars on a terminal, one line per finished stage, nothing but failures under cron."""

import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from artifacts.printable import one_line, printable

if TYPE_CHECKING:
    from tqdm import tqdm


@dataclass(frozen=True)
class Console:
    """`quiet` prints only failures; `as_json` keeps stdout for one JSON object."""

    quiet: bool = False
    as_json: bool = False

    def say(self, text: str) -> None:
        """Prints a text. What it repeats of data has gone through `one_line`: line breaks are the caller's own."""
        if not self.quiet and not self.as_json:
            write(text, sys.stdout)

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
        write(f"transra: warning: {one_line(text)}", sys.stderr)

    @contextmanager
    def bar(self, stage: str, unit: str, total: float | None = None) -> Iterator["tqdm"]:
        """A progress bar on stderr; silent where nobody watches."""
        from tqdm import tqdm

        with tqdm(
            desc=stage, total=total, unit=unit, unit_scale=True, disable=self.hidden, leave=False, dynamic_ncols=True
        ) as bar:
            yield bar

    @contextmanager
    def steps(self, stage: str) -> Iterator[Callable[[str, float], None]]:
        """A progress bar that is told the name of the step and the fraction done; silent where nobody watches."""
        if self.hidden:
            yield lambda step, fraction: None
            return
        with self.bar(stage, "", total=1.0) as bar:

            def progress(step: str, fraction: float) -> None:
                bar.set_postfix_str(one_line(step), refresh=False)
                bar.update(fraction - bar.n)

            yield progress


def write(text: str, stream: TextIO) -> None:
    """Prints a text without the control characters of what it repeats. Where nobody reads any more, work goes on.

    Raises OSError for an output that cannot be written.
    """
    try:
        print(printable(text), file=stream, flush=True)
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
