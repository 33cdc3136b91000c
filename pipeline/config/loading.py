"""Reads a run config: JSON5, `extends`, `--set`, and all errors at once, each with its path."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from artifacts.errors import ConfigError
from artifacts.printable import is_text
from artifacts.section import Problem, did_you_mean
from pipeline.config.extends import patched
from pipeline.config.run_config import RunConfig

Location = tuple[str | int, ...]
EXPERIMENT = {"config", "operators"}  # keys of a file of benchmarks/experiments
MOST_LEVELS = 100  # of brackets in a config; the deepest of ours has 7
# A text between double quotes, or a comment.
_TEXT_OR_COMMENT = re.compile(r'("[^"\\]*(?:\\.[^"\\]*)*")|//[^\n\r\u2028\u2029]*|/\*.*?\*/', re.DOTALL)


def load_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Raises ConfigError with one line per problem."""
    raw = read_raw(path)
    for override in overrides:
        apply_override(raw, override)
    if lines := list(odd_texts(raw)):
        raise ConfigError(*lines)
    return validate(raw)


def read_raw(path: Path, children: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The config as written, over the one that it `extends`."""
    if path in children:
        raise ConfigError(f"{path}: extends itself through {' -> '.join(p.name for p in children)}")
    try:
        raw = parsed(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not JSON5: {str(error).replace('<string>:', 'line ')}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected an object at the top")
    if raw.keys() >= EXPERIMENT and "graph" not in raw:
        raise ConfigError(
            f'{path}: is an experiment, operators beside each other on what its key "config" describes, which '
            "`make experiments` reads; expected the config of a run, such as the one that it extends"
        )
    if (base := raw.pop("extends", None)) is None:
        return raw
    if not isinstance(base, str):
        raise ConfigError(f"{path}: extends: expected the path of a config")
    return patched(read_raw((path.parent / base).resolve(), (*children, path)), raw)


def lineage(path: Path) -> list[Path]:
    """The resolved paths of a config that can be read and of those that it `extends`, one after the other."""
    base = parsed(path.read_text(encoding="utf-8")).get("extends")
    return [path.resolve(), *(lineage((path.parent / base).resolve()) if base else ())]


class TooDeep(ValueError):
    """JSON5 with more levels than any config has."""


def parsed(text: str) -> Any:
    """The value of a JSON5 text. Raises TooDeep before the parser, which is recursive, goes down; ValueError."""
    depth = deepest = 0
    for bracket in re.finditer(r"[\[{\]}]", text):
        depth += 1 if bracket[0] in "[{" else -1
        deepest = max(deepest, depth)
    if deepest > MOST_LEVELS:
        raise TooDeep(f"nested {deepest:,} levels deep; expected at most {MOST_LEVELS}")
    with suppress(ValueError):  # JSON with comments, as most configs are: a hundredth of JSON5's time
        return json.loads(_TEXT_OR_COMMENT.sub(lambda found: found[1] or " ", text), object_pairs_hook=_unique)
    import json5  # knows the rest, and where an error is

    return json5.loads(text, allow_duplicate_keys=False)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these keys and values. Raises ValueError where a key is there twice."""
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def odd_texts(raw: Any, location: Location = ()) -> Iterator[str]:
    """A line for each text, key or value, that is none."""
    if isinstance(raw, str) and not is_text(raw):
        yield f"{printable(dotted(location))}: {shorten(raw)}: expected text without NUL and without lone surrogates"
    pairs: Iterable[Any] = raw.items() if isinstance(raw, dict) else enumerate(raw) if isinstance(raw, list) else ()
    for key, value in pairs:
        if isinstance(key, str) and not is_text(key):
            yield f"{printable(dotted((*location, key)))}: expected a key without NUL and without lone surrogates"
        else:
            yield from odd_texts(value, (*location, key))


def printable(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode()


def apply_override(raw: dict[str, Any], override: str) -> None:
    """Sets one value in place, `key.path=value`; the value is JSON5, or else a string."""
    path, separator, text = override.partition("=")
    keys = path.strip().replace("[", ".").replace("]", "").split(".")
    if not separator or not all(keys):
        raise ConfigError(f"--set {override}: expected key.path=value")
    try:
        value = parsed(text)
    except TooDeep as error:
        raise ConfigError(f"--set {shorten(override)}: {error}") from error
    except ValueError:
        value = text
    if not is_text(override):
        raise ConfigError(f"--set {shorten(override)}: expected UTF-8 text without NUL")
    target: Any = raw
    for depth, key in enumerate(keys):
        index: Any = int(key) if isinstance(target, list) and key.isdigit() else key
        last = depth == len(keys) - 1
        try:
            if last:
                target[index] = value
            else:
                target = target.setdefault(index, {}) if isinstance(target, dict) else target[index]
        except (TypeError, IndexError) as error:
            raise ConfigError(f"--set {override}: there is no {'.'.join(keys[: depth + 1])} in the config") from error


def validate(raw: dict[str, Any]) -> RunConfig:
    """All problems at once: those of the types, and, with these cut out, those of values against each other."""
    lines: list[str] = []
    blamed: set[str] = set()
    trimmed = deepcopy(raw)
    for _ in range(10):  # cutting a bad value out can bring its parent's errors up; it ends long before
        try:
            config = RunConfig.model_validate(trimmed).settled()
            break
        except ValidationError as error:
            found: list[dict[str, Any]] = [{**one, "loc": without_tags(one["loc"], trimmed)} for one in error.errors()]
            lines += unique(describe(one) for one in found if dotted(one["loc"]) not in blamed)
            blamed |= {dotted(one["loc"]) for one in found}
            gone = [cut(trimmed, location) for location in {one["loc"] for one in found}]
            if not all(gone):
                raise ConfigError(*lines) from None
    else:
        raise ConfigError(*lines)
    lines += problem_lines(config.problems())
    if lines:
        raise ConfigError(*lines)
    return config


def problem_lines(problems: Iterable[Problem]) -> list[str]:
    return [f"{dotted(problem.path)}: {problem.message}" for problem in problems]


def without_tags(location: Location, raw: Any) -> Location:
    """A location in the file: pydantic also names which member of a union it tried."""
    kept: list[str | int] = []
    for key in location:
        try:
            raw = raw[key]
            kept.append(key)
        except (KeyError, IndexError, TypeError):
            if key == location[-1] != "[key]" and isinstance(raw, dict):
                kept.append(key)
    return tuple(kept)


def unique(lines: Iterable[str]) -> list[str]:
    """One line per path: a value that fits no member of a union fails them all."""
    first: dict[str, str] = {}
    for line in lines:
        first.setdefault(line.split(":")[0], line)
    return list(first.values())


def cut(raw: Any, location: Location) -> bool:
    """Removes the value at a location in place; False when it is not there (a missing key, say)."""
    for key in location[:-1]:
        try:
            raw = raw[key]
        except (KeyError, IndexError, TypeError):
            return False
    if isinstance(raw, dict) and location[-1] in raw:
        del raw[location[-1]]
        return True
    return False


def describe(error: Any) -> str:
    """One line for one of pydantic's errors."""
    path, kind = dotted(error["loc"]), error["type"]
    if kind == "extra_forbidden":
        known = list(fields_at(error["loc"][:-1]))
        return f"{path}: unknown key{did_you_mean(str(error['loc'][-1]), known)}"
    if kind == "missing":
        return f"{path}: missing, expected a value"
    if kind == "literal_error":
        known = [word.strip().strip("'") for word in error["ctx"]["expected"].replace(" or ", ", ").split(",")]
        return f"{path}: unknown value {error['input']!r}{did_you_mean(str(error['input']), known)}"
    if kind == "list_type" and error["loc"] == ("graph", "relations"):
        return (
            f'{path}: {shorten(error["input"])}: expected a list, [{{ name: "click", ... }}, ...]; an object '
            "that changes relations by name is for a config that extends another, and --set changes one by its place: "
            "graph.relations[0].where=..."
        )
    message = error["msg"].removeprefix("Value error, ")
    return f"{path}: {shorten(error['input'])}: {message[0].lower()}{message[1:]}"


def shorten(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def dotted(location: Iterable[str | int]) -> str:
    """('graph', 'relations', 2, 'lhs') becomes graph.relations[2].lhs."""
    text = ""
    for key in location:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else str(key)
    return text


def fields_at(location: Location) -> Iterable[str]:
    """The keys that the section at a location knows."""
    model: Any = RunConfig
    for key in location:
        if isinstance(model, type) and issubclass(model, BaseModel) and key in model.model_fields:
            model = section_in(model.model_fields[str(key)].annotation)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return []
    return [field.alias or name for name, field in model.model_fields.items()]


def section_in(annotation: Any) -> Any:
    """The section class inside an annotation such as dict[str, SourceConfig] or ModelConfig | None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := section_in(part))), None)
