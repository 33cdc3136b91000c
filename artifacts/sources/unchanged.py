"""Files must hold still while they are read: their size, time and identity before and after must agree."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from artifacts.errors import DataError, TransraError
from artifacts.sources.inputs import FileState


@contextmanager
def unchanged(paths: Iterable[Path]) -> Iterator[None]:
    """Raises DataError that names the files that changed while the block ran, also instead of its own error."""
    with unchanged_since(states(paths)):
        yield


def states(paths: Iterable[Path]) -> dict[Path, FileState | None]:
    """What files are now; None for one that is not there."""
    return {path: _state(path) for path in paths}


@contextmanager
def unchanged_since(before: Mapping[Path, FileState | None]) -> Iterator[None]:
    """As `unchanged`, of files that were read before the block, too."""
    try:
        yield
    except TransraError as error:
        _compare(before, error)
        raise
    _compare(before, None)


def _state(path: Path) -> FileState | None:
    try:
        return FileState.of(path)
    except OSError:
        return None


def _compare(before: Mapping[Path, FileState | None], cause: TransraError | None) -> None:
    changed = [str(path) for path, state in before.items() if _state(path) != state]
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise DataError(
            f"{changed[0]}{more}: changed while it was read; run again when what writes it has finished"
        ) from cause
