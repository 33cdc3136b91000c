"""What mkdocs does beside rendering docs/: pages that lie elsewhere in the repository, and pages that are made.

No text is copied: README.md is the front page, and the links of a page go where they go in the repository.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docs.hooks.config_reference import reference
from docs.hooks.notebooks import executed

REPOSITORY = Path(__file__).resolve().parents[2]
LOADED = re.compile(r"<(?:script|img|link|iframe)\b[^>]*?\b(?:src|href)=\"?((?:https?:)?//[^\"\s>]+)")
ELSEWHERE = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md"}
ELSEWHERE |= {"CHANGELOG.md": "changelog.md"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds what docs/ does not hold."""
    for source, page in ELSEWHERE.items():
        files.append(File.generated(config, page, content=linked((REPOSITORY / source).read_text())))
    files.append(File.generated(config, "reference.md", content=reference()))
    for notebook in sorted((REPOSITORY / "docs/notebooks").glob("*.ipynb")):
        for name, content in executed(notebook).items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


def linked(text: str) -> str:
    """Links from the repository's root, as they are on the site."""
    text = re.sub(r"\]\(docs/", "](", text)
    for source, page in ELSEWHERE.items():
        text = text.replace(f"]({source}", f"]({page}")
    return text.replace(".ipynb)", ".md)")


def on_page_markdown(markdown: str, **_: object) -> str:
    """Links of a page of docs/ to what lies above it, and to notebooks."""
    for source, page in ELSEWHERE.items():
        markdown = markdown.replace(f"](../{source}", f"]({page}")
    return markdown.replace(".ipynb)", ".md)")


def on_post_page(output: str, *, page: Page, **_: object) -> str:
    """Refuses a page that a reader without network does not see whole."""
    if foreign := LOADED.findall(output):
        raise PluginError(f"{page.file.src_uri} loads {foreign[0]}; the site is to ask no network")
    return output
