"""A notebook, executed, as Markdown and its pictures: it looks like every other page and asks no network."""

from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbconvert import MarkdownExporter

SECONDS = 120  # that a cell may take


def executed(path: Path) -> dict[str, str | bytes]:
    """Files by name: the page, and the pictures that it shows. Raises CellExecutionError where a cell fails."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=SECONDS, resources={"metadata": {"path": str(path.parents[2])}}).execute()
    text, resources = MarkdownExporter().from_notebook_node(notebook)
    pictures = {f"{path.stem}_{name}": content for name, content in resources["outputs"].items()}
    for name in resources["outputs"]:
        text = text.replace(f"({name})", f"({path.stem}_{name})")
    return {f"{path.stem}.md": text, **pictures}
