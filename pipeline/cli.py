"""`transra`: runs a command; whatever ends it becomes an exit code and lines."""

import argparse
import atexit
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from artifacts.printable import one_line
from pipeline.arguments import parser
from pipeline.output.console import Console, open_streams, write
from pipeline.output.exit_codes import INTERNAL, failure_of


def main(arguments: Sequence[str] | None = None) -> int:
    open_streams()
    options = parser().parse_args(arguments)
    with interruptible():
        return run(options)


def run(options: argparse.Namespace) -> int:
    """Runs the command that was parsed. Returns the exit code."""
    action: Callable[[argparse.Namespace], dict[str, Any]] = options.action
    try:
        result = action(options)
        Console(as_json=options.json).result({"command": options.command, "exit_code": 0, **result})
    except (KeyboardInterrupt, Exception) as error:
        failure = failure_of(error)
        hint = "" if options.debug else " (--debug shows where; log.jsonl of the run has it too)"
        lines = [f"{line}{hint}" if failure.exit_code == INTERNAL else line for line in failure.lines]
        return fail(options, failure.exit_code, lines)
    return 0


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM interrupts as SIGINT does."""
    before = signal.getsignal(signal.SIGTERM)
    signals = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell ignores it for what it runs behind
        signals.append(signal.SIGINT)
    for one in signals:
        signal.signal(one, interrupt)
    yield
    if signal.getsignal(signal.SIGTERM) is interrupt:  # nothing came; what comes now ends the process without a word
        signal.signal(signal.SIGTERM, before)
        if signal.SIGINT in signals:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # all is done: no traceback of an exit


def interrupt(number: int, frame: Any) -> NoReturn:
    """The first signal interrupts; those that come while what was begun is put away change nothing."""
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda number, frame: None)
    raise KeyboardInterrupt


def fail(options: argparse.Namespace, exit_code: int, lines: Sequence[str]) -> int:
    """Says what went wrong, one line per problem, on stderr, or as the one JSON object."""
    if options.debug:
        traceback.print_exc()
    for line in lines:
        write(f"transra: {one_line(line)}", sys.stderr)
    Console(as_json=options.json).result({"command": options.command, "exit_code": exit_code, "errors": list(lines)})
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
