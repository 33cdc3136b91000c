"""What is shipped: every package typed, one version everywhere, and a docs/extending.md whose places exist."""

import re
from configparser import ConfigParser
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
SETUP = ConfigParser()
SETUP.read(REPOSITORY / "setup.cfg")


def lines(section: str, key: str) -> list[str]:
    return SETUP[section][key].split("\n")[1:]


def test_every_shipped_package_is_typed() -> None:
    packages = [name for name in lines("options.packages.find", "include") if "." not in name]
    found = {path.parent.name for path in REPOSITORY.glob("*/__init__.py")}
    assert set(packages) == found - {"tests", "benchmarks"}
    assert [name for name in packages if not (REPOSITORY / name / "py.typed").is_file()] == []


def test_the_changelog_begins_with_what_is_unreleased_and_the_version_that_is_shipped() -> None:
    headings = re.findall(r"^## (\S+)", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[:2] == ["Unreleased", SETUP["metadata"]["version"]]


def test_the_licence_is_the_one_that_is_named() -> None:
    assert SETUP["metadata"]["license"] == "Apache-2.0"
    text = (REPOSITORY / SETUP["metadata"]["license_files"]).read_text()
    assert "Apache License" in text and "Version 2.0, January 2004" in text and len(text.splitlines()) > 200


def test_the_places_that_extending_names_exist() -> None:
    text = (REPOSITORY / "docs/extending.md").read_text()
    places = re.findall(r"`([\w./]+/[\w.]*)`", text)
    assert len(places) > 10 and [place for place in places if not (REPOSITORY / place).exists()] == []
    names = re.findall(r"`([A-Z]\w+)`", text)
    code = "".join(path.read_text() for package in ("pbg_transra", "ranker", "partitioning", "tests")
                   for path in (REPOSITORY / package).rglob("*.py"))  # fmt: skip
    assert (
        len(names) > 5 and [name for name in names if not re.search(rf"^(class )?{name}\b", code, re.MULTILINE)] == []
    )
