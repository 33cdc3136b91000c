"""Every key of a run config as one page of Markdown, from the config classes: a table for each section."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from pipeline.config.run_config import RunConfig
from pipeline.config.schema import config_schema

Schema = dict[str, Any]

HEAD = """# Config reference

Every key that a config may have, as the config classes declare it: made when this site is built, and never written by
hand. [The config](config.md) says how a config is checked, overridden and varied. `<name>` stands for a name of one's
own, `[]` for each entry of a list. What has no default must be written; `null` is a value of its own.
"""
BOUNDS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}


class Found(NamedTuple):
    """A section of the config: where it stands, and its schema."""

    paths: list[str]
    schema: Schema


def reference() -> str:
    """The whole page."""
    sections = found_sections()
    return "\n".join([HEAD, *(_section(section, sections) for section in sections.values())])


def found_sections() -> dict[str, Found]:
    """Sections by the name of their class, each once, in the order in which a reader of the config meets them."""
    schema = RunConfig.model_json_schema(by_alias=True)
    schema["properties"]["extends"] = config_schema()["properties"]["extends"]
    sections = {"": Found([""], schema)}
    waiting = [("", schema)]
    while waiting:
        path, section = waiting.pop(0)
        for key, value in section["properties"].items():
            for name, below in _sections_below(value, f"{path}.{key}".lstrip(".")):
                if name in sections:
                    sections[name].paths.append(below)
                else:
                    sections[name] = Found([below], schema["$defs"][name])
                    waiting.append((below, schema["$defs"][name]))
    return dict(sorted(sections.items(), key=lambda item: _order(item[1], schema)))


def _order(section: Found, root: Schema) -> tuple[int, list[str]]:
    first = section.paths[0].split(".")
    keys = list(root["properties"])
    return (keys.index(first[0].removesuffix("[]")) if first[0] else -1), first


def _sections_below(value: Schema, path: str) -> Iterator[tuple[str, str]]:
    """Names of the sections that a value may hold, and where they then stand."""
    if "$ref" in value:
        yield value["$ref"].rsplit("/", 1)[-1], path
    for choice in (*value.get("anyOf", ()), *value.get("allOf", ())):
        yield from _sections_below(choice, path)
    for entry in value.get("prefixItems", [value["items"]] if isinstance(value.get("items"), dict) else []):
        yield from _sections_below(entry, f"{path}[]")
    for named in _by_name(value):
        yield from _sections_below(named, f"{path}.<name>")


def _by_name(value: Schema) -> list[Schema]:
    """What the entries of an object are whose keys are names of one's own."""
    extra = value.get("additionalProperties")
    return [*value.get("patternProperties", {}).values(), *([extra] if isinstance(extra, dict) else [])]


def _section(section: Found, sections: dict[str, Found]) -> str:
    title = f"`{section.paths[0]}`" if section.paths[0] else "The root"
    also = [f"Also `{path}`." for path in section.paths[1:]]
    described = section.schema.get("description", "").replace("\n", " ")
    required = section.schema.get("required", [])
    rows = [_row(key, value, key in required, sections) for key, value in section.schema["properties"].items()]
    table = "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *rows])
    return f"## {title} {{ #{anchor(section.paths[0])} }}\n\n{' '.join([described, *also]).strip()}\n\n{table}\n"


def anchor(path: str) -> str:
    """The id of a section's heading."""
    return path.replace(".", "-").replace("<name>", "name").replace("[]", "-each") or "root"


def _row(key: str, value: Schema, required: bool, sections: dict[str, Found]) -> str:
    default = "" if required or "default" not in value else _default(value)
    cells = (f"`{key}`", _type(value, sections), default, value.get("description", ""))
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _default(value: Schema) -> str:
    """A section's default is that of its keys, which its own table has."""
    if isinstance(value["default"], dict) and value["default"]:
        return "that of its keys"
    return f"`{json.dumps(value['default'], ensure_ascii=False)}`"


def _type(value: Schema, sections: dict[str, Found]) -> str:
    """The kind of a value in words, with its bounds."""
    if "anyOf" in value:
        return " or ".join(_type(choice, sections) for choice in value["anyOf"])
    if "$ref" in value:
        path = sections[value["$ref"].rsplit("/", 1)[-1]].paths[0]
        return f"[section](#{anchor(path)})"
    if "enum" in value or "const" in value:
        return ", ".join(f"`{json.dumps(one)}`" for one in value.get("enum", [value.get("const")]))
    if value.get("type") == "array":
        return _list(value, sections)
    if named := _by_name(value):
        return f"by name: {' or '.join(_type(one, sections) for one in named)}"
    bounds = [f"{words} {_number(value[bound])}" for bound, words in BOUNDS.items() if bound in value]
    return ", ".join([{"string": "text"}.get(value.get("type", ""), value.get("type", "any value")), *bounds])


def _number(bound: float) -> str:
    return str(int(bound)) if bound == int(bound) else f"{bound:g}"


def _list(value: Schema, sections: dict[str, Found]) -> str:
    if "prefixItems" in value:
        return "list of " + ", then ".join(_type(one, sections) for one in value["prefixItems"])
    return f"list of {_type(value['items'], sections)}"
