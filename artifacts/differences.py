"""What changed between two JSON objects, in words."""

import json
from typing import Any


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """One text per value that changed."""
    changes = []
    for key in sorted(old.keys() | new.keys()):
        before, after, path = old.get(key), new.get(key), f"{prefix}{key}"
        if isinstance(before, dict) and isinstance(after, dict):
            changes += differences(before, after, f"{path}.")
        elif before != after:
            changes.append(f"{path} changed from {_shortened(before)} to {_shortened(after)}")
    return changes


def _shortened(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else text[:37] + "..."
