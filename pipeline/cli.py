"""`transra`: runs a command; whatever ends it becomes an exit code and lines."""

import argparse
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from artifacts.errors import ConfigError
from artifacts.machine.interrupts import interruptible, silence
from artifacts.printable import one_line
from pipeline.output.console import Console, open_streams, write
from pipeline.output.exit_codes import INTERNAL, Failure, failure_of

FIRST_STEPS = """\
transra init LOGS               a first config for your logs: configs/mine.json
transra run configs/mine.json   vectors, and a page to look at
transra --help                  every command"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command, the program's own unless one is given. Returns the exit code."""
    open_streams()
    with interruptible(program=arguments is None):
        try:
            # From here on an interrupt is answered, imports included.
            from pipeline.arguments import completed, parser, require_command_first

            root = completed(parser())
            given = sys.argv[1:] if arguments is None else arguments
            if not given:
                write(FIRST_STEPS, sys.stderr)
                return ConfigError.exit_code
            require_command_first(root, given)
            options = root.parse_args(arguments)
        except KeyboardInterrupt as error:
            silence()
            return say(failure_of(error))
        return run(options)


def run(options: argparse.Namespace) -> int:
    """Runs the command that was parsed. Returns the exit code."""
    action: Callable[[argparse.Namespace], dict[str, Any]] = options.action
    try:
        result = action(options)
        Console(as_json=options.json).result({"command": options.command, "exit_code": 0, **result})
    except (KeyboardInterrupt, Exception) as error:
        silence()
        failure = failure_of(error)
        hint = "" if options.debug else " (--debug shows where; log.jsonl of the run has it too)"
        lines = [f"{line}{hint}" if failure.exit_code == INTERNAL else line for line in failure.lines]
        return fail(options, failure.exit_code, lines)
    return 0


def say(failure: Failure) -> int:
    """Prints the lines on stderr. Returns the exit code."""
    for line in failure.lines:
        write(f"transra: {one_line(line)}", sys.stderr, "red")
    return failure.exit_code


def fail(options: argparse.Namespace, exit_code: int, lines: Sequence[str]) -> int:
    """Says what went wrong, one line per problem, on stderr, or as the one JSON object."""
    if options.debug:
        traceback.print_exc()
    say(Failure(exit_code, tuple(lines)))
    Console(as_json=options.json).result({"command": options.command, "exit_code": exit_code, "errors": list(lines)})
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
