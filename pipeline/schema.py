"""The JSON Schema of run configs, for editors: configs/schema.json is this, and a test keeps it current."""

from typing import Any

from pipeline.config import RunConfig


def config_schema() -> dict[str, Any]:
    """`extends` belongs to the file, not to the resolved config, so it is added here."""
    schema = RunConfig.model_json_schema(by_alias=True)
    schema["properties"]["extends"] = {
        "type": "string",
        "description": "path of the config that this one is a variant of, relative to this file",
    }
    schema["required"] = []  # an `extends` may bring them
    return schema
