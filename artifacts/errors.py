"""What can go wrong, by who has to act: each class carries the exit code that the command line returns.

An error's text is one line that a person can act on: the file, row or config path, and what was expected.
"""


class TransraError(Exception):
    """Base of every error that a person can act on. `lines` holds one text per problem."""

    exit_code = 70

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class ConfigError(TransraError):
    """The command or the config is wrong; all problems at once. Exit code 2."""

    exit_code = 2


class DataError(TransraError):
    """An input, a graph or a checkpoint is not what it should be. Exit code 65."""

    exit_code = 65


class ResourceError(TransraError):
    """It cannot be written, or does not fit: disk, memory, shared memory. Exit code 73."""

    exit_code = 73


class BusyError(TransraError):
    """Somebody else holds the workspace; trying again later can help. Exit code 75."""

    exit_code = 75


class PeerError(TransraError):
    """Another rank of a training is gone, or never came; the same commands resume. Exit code 75."""

    exit_code = 75
