"""The site has every page, its notebooks are stored without outputs, and no page loads anything from elsewhere.

Links are checked by `make docs` (mkdocs build --strict).
"""

import json
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tests.worlds.pages import PAGES, REPOSITORY

NOTEBOOKS = sorted((REPOSITORY / "docs/notebooks").glob("*.ipynb"))
ELSEWHERE = {"index.md", "contributing.md", "security.md"}  # README, and what lies beside it


def navigation(entry: Any) -> list[str]:
    """The pages of a part of the navigation."""
    if isinstance(entry, str):
        return [entry]
    return [page for below in (entry.values() if isinstance(entry, dict) else entry) for page in navigation(below)]


def test_every_page_is_in_the_navigation() -> None:
    pages = navigation(yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text())["nav"])
    expected = {page.name for page in PAGES if page.parent.name == "docs"} | ELSEWHERE
    expected |= {"changelog.md", "reference.md", *(f"notebooks/{notebook.stem}.md" for notebook in NOTEBOOKS)}
    assert set(pages) == expected and len(pages) == len(expected)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_are_stored_without_outputs(notebook: Any) -> None:
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    assert len(cells) > 3
    assert [cell for cell in cells if cell["outputs"] or cell["execution_count"] is not None] == []


@pytest.mark.parametrize(
    ("html", "refused"),
    [
        ('<script src="https://x.org/a.js"></script>', True),
        ('<link rel="stylesheet" href="//x.org/a.css">', True),
        ("<img alt='a' src=http://x.org/a.png>", True),
        ('<a href="https://x.org">a link may lead away</a><img src="architecture.svg">', False),
    ],
)
def test_a_page_that_loads_from_elsewhere_is_refused(html: str, refused: bool) -> None:
    exceptions = pytest.importorskip("mkdocs.exceptions", reason="needs `make docs`")
    from docs.hooks.site import on_post_page

    page: Any = SimpleNamespace(file=SimpleNamespace(src_uri="a.md"))
    if refused:
        with pytest.raises(exceptions.PluginError, match=r"a\.md loads .*x\.org"):
            on_post_page(html, page=page)
    else:
        assert on_post_page(html, page=page) == html
