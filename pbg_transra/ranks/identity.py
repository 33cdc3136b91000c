"""What the ranks of a training must have in common: code, config and graph."""

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pbg_transra.config import ModelConfig
from pbg_transra.ranks.server import Identity

PACKAGES = ("torch", "torchbiggraph", "numpy", "h5py")
OURS = ("artifacts", "pbg_transra")
TRAINS = (".py", ".cpp", ".hpp")


def identity(config: ModelConfig, graph: dict[str, Any]) -> Identity:
    """`graph`: what tells the graph from others."""
    return {
        "code": code_digest(),
        "versions": {name: version(name) for name in PACKAGES},
        "model": config.model_dump(mode="json", exclude=set(config.without_effect)),
        "graph": graph,
    }


@cache
def code_digest() -> str:
    """SHA-256 of the sources that train."""
    found, top = hashlib.sha256(), Path(__file__).resolve().parents[2]
    for path in sorted(path for name in OURS for path in (top / name).rglob("*") if path.suffix in TRAINS):
        found.update(f"{path.relative_to(top)}\n".encode())
        found.update(path.read_bytes())
    return found.hexdigest()
