"""The JSON Schema of run configs, for editors: configs/schema.json is this, and a test keeps it current."""

from typing import Any

from pipeline.config.run_config import RunConfig


def config_schema() -> dict[str, Any]:
    """`extends` belongs to the file, not to the resolved config, so it is added here, with what it lets a file say."""
    schema = RunConfig.model_json_schema(by_alias=True)
    schema["properties"]["extends"] = {
        "type": "string",
        "description": "path of the config that this one is a variant of, relative to this file: objects merge, null "
        "drops a key, anything else replaces",
    }
    schema["required"] = []  # an `extends` may bring them
    for section in (schema, *schema["$defs"].values()):
        for mapping in _mappings(section):
            mapping["additionalProperties"] = _or_null(mapping["additionalProperties"])
    graph, relation = schema["$defs"]["GraphConfig"], schema["$defs"]["RelationConfig"]
    del graph["required"]
    relations = graph["properties"]["relations"]
    by_name = {
        "type": "object",
        "description": "beside `extends`: changes to the base's relations by name; null drops one",
        "additionalProperties": _or_null({key: value for key, value in relation.items() if key != "required"}),
    }
    graph["properties"]["relations"] = {"description": relations.pop("description"), "anyOf": [relations, by_name]}
    return schema


def _mappings(section: dict[str, Any]) -> list[dict[str, Any]]:
    """The properties of a section whose keys are names that the config chooses."""
    properties = [one for found in section.get("properties", {}).values() for one in (found, *found.get("anyOf", []))]
    return [one for one in properties if isinstance(one.get("additionalProperties"), dict)]


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}
