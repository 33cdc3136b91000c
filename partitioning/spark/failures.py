"""Errors of tasks: Spark hands text from an executor to the driver, so ours travel as a line of JSON."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

from artifacts import errors
from artifacts.errors import TransraError
from artifacts.expressions.engine import translated

_MARK = re.compile(r'\{"transra": .*\}')


class TaskFailure(Exception):
    """An error of ours, as text."""

    def __init__(self, error: TransraError) -> None:
        super().__init__(json.dumps({"transra": type(error).__name__, "lines": error.lines}))


def carried(text: str) -> TransraError | None:
    """The error that the text of another has within it."""
    if not (found := _MARK.search(text)):
        return None
    said = json.loads(found[0])
    kind = getattr(errors, said["transra"], errors.DataError)  # of those that only some module knows, what they are
    ours: TransraError = kind(*said["lines"])
    return ours


@contextmanager
def travelling() -> Iterator[None]:
    """What an executor does: errors of ours, of DuckDB and of the disk leave it as TaskFailure."""
    try:
        with translated():
            yield
    except TransraError as error:
        raise TaskFailure(error) from error
