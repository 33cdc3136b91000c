"""Exit codes: what each means, and which an error becomes."""

import errno
from typing import NamedTuple

from artifacts.errors import BusyError, ConfigError, DataError, ResourceError, TransraError
from artifacts.machine.exhausted import exhausted
from artifacts.machine.interrupts import asked

INTERNAL, INTERRUPTED = TransraError.exit_code, 130
EXIT_CODES = {
    0: "done, or up to date",
    ConfigError.exit_code: "the command or the config is wrong",
    DataError.exit_code: "bad data, or a run that was rejected",
    INTERNAL: "internal error",
    ResourceError.exit_code: "cannot be written, or does not fit",
    BusyError.exit_code: "another command holds the workspace, or another rank of a training is gone",
    INTERRUPTED: "interrupted",
}
# Nothing but a person can help: repeating the command gives the same.
FOR_A_PERSON = frozenset({ConfigError.exit_code, DataError.exit_code})
_UNWRITABLE = {
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.ENOTEMPTY,
    errno.ELOOP,
    errno.ENAMETOOLONG,
}


class Failure(NamedTuple):
    """An exit code, and a line for each problem."""

    exit_code: int
    lines: tuple[str, ...]


def failure_of(error: BaseException) -> Failure:
    """What the command line answers to what ended a command."""
    if asked() or isinstance(error, KeyboardInterrupt):  # a library may have made another error of it
        return Failure(INTERRUPTED, ("interrupted; the same command goes on",))
    ours = error if isinstance(error, TransraError) else exhausted(error)
    if ours is not None:
        return Failure(ours.exit_code, ours.lines)
    if isinstance(error, OSError) and error.errno in _UNWRITABLE:
        return Failure(ResourceError.exit_code, (f"{error.filename or 'output'}: {error.strerror}",))
    return Failure(INTERNAL, (f"internal error: {type(error).__name__}: {error}",))
