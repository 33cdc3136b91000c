"""Which files of a PyTorch-BigGraph checkpoint count. Light: fingerprints are taken from it before every command."""

from pathlib import Path

from artifacts.errors import DataError

VERSION_FILE = "checkpoint_version.txt"


def has_checkpoint(directory: Path) -> bool:
    """Whether a training into `directory` has committed a pass."""
    return (directory / VERSION_FILE).exists()


def committed_version(directory: Path) -> int:
    """Raises DataError when nothing is committed (PBG itself would silently start again at version 0)."""
    path = directory / VERSION_FILE
    text = path.read_text().strip() if path.exists() else ""
    if not text.isdecimal() or int(text) == 0:
        raise DataError(f"{path}: expected the number of a committed checkpoint, found '{text}'; train first")
    return int(text)


def committed_files(directory: Path) -> list[Path]:
    """Returns the files of the committed version, and what says how it was trained."""
    version = committed_version(directory)
    described = [path for name in (VERSION_FILE, "config.json") if (path := directory / name).exists()]
    return [*described, *sorted(directory.glob(f"*.v{version}.h5"))]
