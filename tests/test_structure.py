"""Arrows point one way: pipeline -> {partitioning, pbg_transra, ranker} -> artifacts. No stage imports another."""

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
ALLOWED = {
    "artifacts": set(),
    "partitioning": {"artifacts"},
    "pbg_transra": {"artifacts"},
    "ranker": {"artifacts"},
    "pipeline": {"artifacts", "partitioning", "pbg_transra", "ranker"},
}
FILES = [path for package in ALLOWED for path in sorted((REPOSITORY / package).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    """Top-level names of the packages that a file imports anywhere."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_imports_point_down(path: Path) -> None:
    package = path.relative_to(REPOSITORY).parts[0]
    ours = imported(path) & ALLOWED.keys() - {package}
    assert ours <= ALLOWED[package]


def test_only_training_and_export_know_torch() -> None:
    assert not any("torch" in imported(path) for path in FILES if path.is_relative_to(REPOSITORY / "partitioning"))
    ranker = [path for path in FILES if path.is_relative_to(REPOSITORY / "ranker")]
    assert not any("torchbiggraph" in imported(path) for path in ranker)
