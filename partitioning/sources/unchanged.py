"""Sources must hold still while they are read: their size, time and identity before and after must agree."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from artifacts.errors import DataError, TransraError
from artifacts.inputs import FileState


@contextmanager
def unchanged(paths: Iterable[Path]) -> Iterator[None]:
    """Raises DataError that names the files that changed while the block ran, also instead of its own error."""
    before = {path: _state(path) for path in paths}
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


def _compare(before: dict[Path, FileState | None], cause: TransraError | None) -> None:
    changed = [str(path) for path, state in before.items() if _state(path) != state]
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise DataError(
            f"{changed[0]}{more}: changed while it was read; run again when what writes it has finished"
        ) from cause
