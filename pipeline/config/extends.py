"""`extends`: a config as a patch of another one (JSON merge patch, RFC 7386), with two additions.

- null is kept where the key has it as a value (`evaluate.max_edges: null` is all edges); elsewhere it drops the key.
  What is not there cannot be dropped: a typo would leave what was meant to go.
- `graph.relations` is a list, whose order gives relations their indices. As an object it patches the base's by name.
"""

from types import NoneType
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from artifacts.errors import ConfigError
from artifacts.section import did_you_mean
from pipeline.config.run_config import RunConfig

Location = tuple[str, ...]
RELATIONS = ("graph", "relations")


def patched(base: dict[str, Any], over: dict[str, Any], location: Location = ()) -> dict[str, Any]:
    """The base with the patch applied: objects merge key by key, null drops a key, anything else replaces."""
    merged = dict(base)
    for key, value in over.items():
        at, below = (*location, key), merged.get(key)
        if value is None and not accepts_null(at):
            _require(key, list(base), at)
            del merged[key]
        elif at == RELATIONS and isinstance(value, dict) and isinstance(below, list):
            merged[key] = _patched_relations(below, value)
        elif isinstance(value, dict):
            merged[key] = patched(below if isinstance(below, dict) else {}, value, at)
        else:
            merged[key] = value
    return merged


def _patched_relations(base: list[Any], over: dict[str, Any]) -> list[Any]:
    """The base's relations, patched by name; new ones follow. One with a relation_column is called `by <column>`."""
    relations = {_label(relation): relation for relation in base}
    if len(relations) < len(base):
        raise ConfigError("graph.relations: names of the base occur twice, so it can only be replaced by a list")
    for label, value in over.items():
        at = (*RELATIONS, label)
        if value is None:
            _require(label, list(relations), at)
            del relations[label]
        elif not isinstance(value, dict):
            raise ConfigError(f"{'.'.join(at)}: expected an object, or null to drop the relation")
        else:
            named = {} if "relation_column" in value else {"name": label}
            relations[label] = patched(relations.get(label, named), value, at)
    return list(relations.values())


def _label(relation: Any) -> str:
    """As `RelationConfig.label`, of what is not validated yet."""
    found = relation if isinstance(relation, dict) else {}
    return str(found.get("name") or f"by {found.get('relation_column')}")


def _require(key: str, known: list[str], location: Location) -> None:
    """Raises ConfigError unless the base has what null is to drop."""
    if key not in known:
        raise ConfigError(
            f"{'.'.join(location)}: null drops a key, and what this config extends has no '{key}'"
            f"{did_you_mean(key, known)}"
        )


def accepts_null(location: Location) -> bool:
    """Whether null is a value of the key at a location."""
    annotation: Any = RunConfig
    for key in location:
        annotation = _inside(annotation, key)
    return NoneType in get_args(annotation)


def _inside(annotation: Any, key: str) -> Any:
    """The annotation of a key, looked for in every member of a union; None for a key that no section knows."""
    for part in (annotation, *get_args(annotation)):
        if isinstance(part, type) and issubclass(part, BaseModel):
            fields = {field.alias or name: field.annotation for name, field in part.model_fields.items()}
            return fields.get(key)
        if get_origin(part) in (dict, list):
            return get_args(part)[-1]
    return None
