"""Nothing is half-written: write aside, then rename.

A reader sees either the old whole or the new whole, also after a power cut (files are synced before the rename).
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from artifacts.errors import ResourceError
from artifacts.files.exchange import exchange

REPLACED = ".replaced"  # ends the name of a directory that makes room for its successor


def require_replaceable(path: Path) -> None:
    """Raises ResourceError where `path` is a directory, a device or a pipe: a rename would take a device away."""
    if path.exists() and not path.is_file():
        raise ResourceError(f"{path}: is no file that can be replaced; choose another name")


def sync(path: Path) -> None:
    """Makes the content of a file durable, or the renames inside a directory."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str, mode: int | None = None) -> None:
    """Replaces `path` by `text` in one step; `mode` are its permissions, by default what the umask leaves.

    Raises ResourceError for what is no file.
    """
    require_replaceable(path)
    aside = path.with_name(f".{path.name}.partial")
    try:
        with aside.open("w", encoding="utf-8") as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)  # before there is anything to read
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Replaces `path` by `value` as indented JSON in one step. NaN is refused: it is not JSON."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


@contextmanager
def published(path: Path) -> Iterator[Path]:
    """Yields an empty directory `<path>.partial`; renames it to `path` when the block ends without an error.

    A partial directory left by a killed run is thrown away first. `path` must not exist.
    """
    partial = path.with_name(path.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    publish(partial, path)


def sync_files(directory: Path) -> None:
    """Makes every file below a directory durable."""
    for file in directory.rglob("*"):
        if file.is_file() and not file.is_symlink():
            sync(file)


def publish(partial: Path, path: Path) -> None:
    """Renames a whole directory into place after its files are on disk.

    One that is there already stays until the new one has its name, and is removed then: killed before, both are left.
    """
    sync_files(partial)
    old = None
    if path.exists():
        old = partial if exchange(partial, path) else _aside(path)
    if old != partial:
        os.rename(partial, path)
    sync(path.parent)
    if old is not None:
        shutil.rmtree(old)


def _aside(path: Path) -> Path:
    """Where the file system cannot exchange: the old one under another name, whence `restore` fetches it back."""
    aside = path.with_name(f".{path.name}{REPLACED}")
    shutil.rmtree(aside, ignore_errors=True)
    os.rename(path, aside)
    return aside


def restore(aside: Path) -> None:
    """Ends what a kill has cut short in `publish`: the old directory gets its name back, or goes."""
    path = aside.with_name(aside.name.removeprefix(".").removesuffix(REPLACED))
    if path.exists():
        shutil.rmtree(aside)
    else:
        os.rename(aside, path)
        sync(path.parent)


def point(link: Path, target: str) -> None:
    """Moves the symlink `link` to `target` (relative to the link's directory) in one step."""
    aside = link.with_name(f".{link.name}.partial")
    aside.unlink(missing_ok=True)
    aside.symlink_to(target)
    os.replace(aside, link)
    sync(link.parent)


def link_tree(source: Path, destination: Path) -> None:
    """Makes `destination` a copy of `source` whose files are hard links; whole or absent, by a rename."""
    with published(destination) as partial:
        shutil.copytree(source, partial, copy_function=os.link, symlinks=True, dirs_exist_ok=True)
