"""What README and docs tell people to type: every command parses with the real parser, or is a real make target.

`tests/pipeline/test_documented_commands.py` runs those of blocks.
"""

import argparse
import configparser
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import json5
import pytest

from pipeline.arguments import parser
from pipeline.cli import main
from pipeline.config.loading import validate
from ranker.__main__ import parser as ranker_parser
from tests.worlds.pages import BLOCK, CONFIGS, PAGES, REPOSITORY, VALUES, commands, files_of, lines, readings

CHEAP = {"check", "show", "schema"}
YOURS = {"configs/mine.json", *(path for page in PAGES for path in files_of(page.read_text()))}  # what readers write


def documented() -> list[tuple[str, str]]:
    """Page and command, each once."""
    texts = [(page.name, page.read_text()) for page in PAGES]
    texts += [(path.name, re.sub("^//", "  ", path.read_text(), flags=re.MULTILINE)) for path in CONFIGS]
    return sorted({(name, command) for name, text in texts for command in lines(text)})


def options(command: argparse.ArgumentParser) -> Iterator[str]:
    """Every option of a parser and of those below it."""
    for action in command._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from options(child)


def parses(words: list[str], missing: tuple[str, ...]) -> bool:
    """Whether the words are a command, perhaps one of which only the name is mentioned."""
    for count in range(len(missing) + 1):
        try:
            parser().parse_args([*words, *missing[:count]])
        except SystemExit:
            continue
        return True
    return False


def check_transra(words: list[str]) -> None:
    assert parses(words, ("configs/demo.json", "user", "u1"))
    if words[0] == "config" and words[1] in CHEAP and (words[1] == "schema" or not YOURS & set(words)):
        assert main([*words, "--quiet"] if len(words) > 2 or words[1] == "schema" else [*words, VALUES["CONFIG"]]) == 0


def check_make(words: list[str]) -> None:
    done = subprocess.run(["make", "-n", *words], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def check_python(words: list[str]) -> None:
    if words[0] in YOURS:
        return
    assert words[0] == "-m"
    if words[1] == "ranker" and len(words) > 2:
        ranker_parser().parse_args(words[2:])
    else:
        assert (REPOSITORY / words[1].replace(".", "/")).with_suffix(".py").exists() or words[1:] == ["ranker"]


def check_torchrun(words: list[str]) -> None:
    check_python(words[words.index("-m") :])


def check_pip(words: list[str]) -> None:
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    assert words[0] == "install"
    for extra in re.findall(r"\[(\w+)\]", words[1]):
        assert extra in setup["options.extras_require"]


def check_script(package: str) -> Callable[[str], None]:
    def check(name: str) -> None:
        assert name in {entry.name for entry in distribution(package).entry_points}

    return check


CHECKS: dict[str, Callable[[list[str]], None]] = {
    "transra": check_transra,
    "make": check_make,
    "python": check_python,
    "torchrun": check_torchrun,
    "pip": check_pip,
}


@pytest.mark.parametrize(("page", "command"), documented())
def test_a_documented_command_is_right(page: str, command: str) -> None:
    for program, *words in readings(command):
        if program in CHECKS:
            if words:
                CHECKS[program](words)
        else:
            check_script(program.split("_")[0])(program)
        for word in re.findall(r"(?:configs|benchmarks)/\w+\.json", command):
            assert word in YOURS or (REPOSITORY / word).exists(), word


def test_a_documented_option_is_one() -> None:
    """Options that the text mentions by themselves."""
    known = {*options(parser()), *options(ranker_parser()), "--no-deps"}  # the last is pip's
    for page in PAGES:
        for option in re.findall(r"`(--[a-z-]+)", page.read_text()):
            assert option in known, f"{page.name}: {option}"


def test_commands_are_found() -> None:
    """So that a page in another form does not pass unread."""
    found = {command for _, command in documented()}
    assert {"make partition train export", "make test", "transra run configs/fb15k237.json"} <= found
    assert any(command.startswith("transra run configs/mine.json --quiet") for command in found), "cron's line"
    assert any(command.startswith("torchrun ") for command in found)
    assert len(found) > 40


@pytest.mark.parametrize(
    "line",
    ["transra partitoin CONFIG", "transra train CONFIG --epochs 3", "make partitoin", "transra config schema CONFIG"],
)
def test_a_wrong_command_is_noticed(line: str) -> None:
    (command,) = commands(line)
    with pytest.raises(AssertionError):
        for program, *words in readings(command):
            CHECKS[program](words)


@pytest.mark.parametrize(("status", "expected", "said"), [(0, 0, ""), (75, 2, r"make: \*\*\* \[Makefile:.*")])
def test_a_night_by_make_prints_failures_only(tmp_path: Path, status: int, expected: int, said: str) -> None:
    """cron mails what is printed. make answers every failure with 2, as Makefile and README say."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for name in ("Makefile", "setup.cfg", "setup.py", "constraints.txt"):
        (tmp_path / name).write_bytes((REPOSITORY / name).read_bytes())
        os.utime(tmp_path / name, (1, 1))
    (tmp_path / ".venv/installed").touch()
    (tmp_path / ".venv/bin/transra").write_text(f'#!/bin/sh\necho "$@" > called\nexit {status}\n')
    (tmp_path / ".venv/bin/transra").chmod(0o755)
    words = ["make", "nightly", "CONFIG=configs/mine.json", "ARGS=--set model.epochs=1"]
    # `make test` runs these tests: its own variables would make this a make within a make, which names its directory.
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (expected, "")
    assert re.fullmatch(said, done.stderr.strip())
    assert (tmp_path / "called").read_text() == "run configs/mine.json --quiet --set model.epochs=1\n"


SCHEMA = json.loads((REPOSITORY / "configs/schema.json").read_text())
SECTIONS = tuple(name for name in SCHEMA["properties"] if name != "$schema")


def known_keys(node: dict[str, Any], keys: list[str]) -> bool:
    """Whether a dotted path leads to a key of the schema. `<name>` stands for a name of one's own."""
    node = SCHEMA["$defs"][node["$ref"].split("/")[-1]] if "$ref" in node else node
    if not keys:
        return True
    choices = [known_keys(choice, keys) for choice in (*node.get("anyOf", ()), *node.get("allOf", ()))]
    named = (below for name, below in node.get("patternProperties", {}).items() if re.search(name, keys[0]))
    below = node.get("properties", {}).get(keys[0]) or next(named, None) or node.get("additionalProperties")
    below = below or node.get("items")
    return any(choices) or (isinstance(below, dict) and known_keys(below, keys[1:]))


def dotted_keys() -> list[tuple[str, str]]:
    """Page and config path, each once, of code spans such as `graph.memory_limit` and `model.patience: 3`."""
    span = re.compile(rf"`((?:{'|'.join(SECTIONS)})(?:\.[\w<>]+)+)[`:=]")
    found = {(page.name, key) for page in PAGES for key in span.findall(page.read_text())}
    return sorted((page, key) for page, key in found if not key.endswith((".json", ".partial", ".py")))  # files


@pytest.mark.parametrize(("page", "key"), dotted_keys())
def test_a_documented_key_is_in_the_schema(page: str, key: str) -> None:
    assert known_keys(SCHEMA, key.split("."))


def pieces_of_configs(page: Path) -> Iterator[dict[str, Any]]:
    """Blocks of a page that hold a config or a piece of one; without a section it is of `graph`."""
    for head, text in BLOCK.findall(page.read_text()):
        if head.startswith("js"):
            piece = json5.loads(text if text.startswith("{") else f"{{{text}}}".replace("...", ""))
            yield piece if piece.keys() & set(SECTIONS) else {"graph": piece}


def keys_in(value: Any, path: str = "") -> Iterator[str]:
    """Dotted paths; a place in a list is a key, as is the name of a relation that a variant changes."""
    for key, below in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield f"{path}{key}"
        yield from keys_in(below, f"{path}{key}.")


def test_keys_in_pieces_of_configs_are_in_the_schema() -> None:
    found = {(page.name, key) for page in PAGES for piece in pieces_of_configs(page) for key in keys_in(piece)}
    assert [(page, key) for page, key in sorted(found) if not known_keys(SCHEMA, key.split("."))] == []
    assert {("graph.md", "graph.spark.master"), ("config.md", "checks.2.sql")} <= found, "a page in another form"


def test_the_config_of_the_readme_is_one() -> None:
    (text,) = re.findall(r"```js\n(\{.*?)```", (REPOSITORY / "README.md").read_text(), flags=re.DOTALL)
    config = validate(json5.loads(text))
    assert [relation.label for relation in config.graph.relations] == ["click", "ad_of"]
