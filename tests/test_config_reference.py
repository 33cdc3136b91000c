"""The page of config keys is made from the config classes, and leaves no key of configs/schema.json out."""

import json
import re
from pathlib import Path
from typing import Any

from docs.hooks.config_reference import anchor, found_sections, reference

REPOSITORY = Path(__file__).resolve().parents[1]
SCHEMA = json.loads((REPOSITORY / "configs/schema.json").read_text())
ROW = re.compile(r"^\| `([^`]+)` \| (.+?) \| (.*?) \| (.*) \|$", re.MULTILINE)


def tables() -> dict[str, dict[str, tuple[str, str, str]]]:
    """Type, default and meaning of every key, by the id of its section's heading."""
    parts = re.split(r"^## .* \{ #(\S+) \}$", reference(), flags=re.MULTILINE)[1:]
    cells = (re.sub(r"\\\|", "/", part) for part in parts[1::2])
    return {name: {key: rest for key, *rest in ROW.findall(part)} for name, part in zip(parts[::2], cells, strict=True)}


def declared() -> dict[str, dict[str, Any]]:
    """Properties of every section of the schema, by the same ids."""
    sections = {name: anchor(found.paths[0]) for name, found in found_sections().items()}
    assert set(sections) == {"", *SCHEMA["$defs"]}
    return {path: (SCHEMA["$defs"][name] if name else SCHEMA)["properties"] for name, path in sections.items()}


def test_every_key_of_the_schema_has_its_row() -> None:
    rows, keys = tables(), declared()
    assert {section: set(table) for section, table in rows.items()} == {
        section: set(properties) for section, properties in keys.items()
    }
    assert sum(map(len, rows.values())) > 200


def test_rows_have_type_default_and_meaning() -> None:
    rows = tables()
    for section, table in rows.items():
        for key, (kind, _, meaning) in table.items():
            assert kind and kind != "any value" and "object" not in kind, f"{section}: {key}: {kind}"
            assert len(meaning) > 3, f"{section}: {key} has no description"
    assert rows["model"]["dimension"][:2] == ["integer, above 0, at most 65536", "`64`"]
    assert rows["graph"]["sources"][:2] == ["by name: [section](#graph-sources-name)", ""]
    assert rows["export"]["dtype"][0] == '`"float32"`, `"float16"`'
    assert rows["graph-relations-each"]["name"][:2] == ["text or null", "`null`"]


def test_links_lead_to_headings() -> None:
    assert set(re.findall(r"\]\(#([^)]+)\)", reference())) <= set(tables())
