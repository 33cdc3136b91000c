"""JSON that may be damaged or made by hand: bounded in size and depth, and of the expected types, or refused."""

from collections.abc import Hashable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from artifacts.errors import DataError
from artifacts.files.regular import open_regular

MOST_BYTES = 1 << 28

T = TypeVar("T")


def read_json(path: Path, kind: type[T], what: str) -> T:
    """Reads `what`, a JSON file of the type `kind`: built-in types, dataclasses or models of pydantic.

    Raises DataError of one line: the file, where in it, and what was expected.
    """
    with open_regular(path, what) as file:
        text = file.read(MOST_BYTES + 1)
    if len(text) > MOST_BYTES:
        raise DataError(f"{path}: more than {MOST_BYTES >> 20} MiB, expected {what}")
    try:
        return parse_json(text, kind)
    except ValueError as error:
        raise DataError(f"{path}: expected {what} ({error})") from error


def parse_json(text: str | bytes, kind: type[T]) -> T:
    """Reads JSON of a type. Raises ValueError of one line; nesting deeper than some 200 levels is an error, too."""
    try:
        parsed: T = _adapter(cast(Hashable, kind)).validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: {first['msg']}" if where else first["msg"]) from error
    return parsed


@lru_cache
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(cast(Any, kind))
