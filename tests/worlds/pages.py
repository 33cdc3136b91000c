"""The pages of the documentation, and the commands that they tell people to type.

Commands are lines of indented or fenced blocks, code spans in the text, and lines in the comments of configs. In a
synopsis CONFIG, DIR and the like stand for values, `[...]` for what may be left out, `a|b` for either; two spaces begin
a remark.
"""

import re
import shlex
from collections.abc import Iterator
from itertools import product
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
PAGES += sorted((REPOSITORY / "docs").glob("*.md"))
CONFIGS = sorted((REPOSITORY / "configs").glob("*.json"))
VALUES = {"CONFIG": "configs/demo.json", "DIR": "data", "TYPE": "user", "ID": "u1", "FILE": "pbg.py"}
VALUES |= {"N": "1", "S": "1", "R": "1", "TARGET": "help", "key.path=value": "model.epochs=1"}
PROGRAM = re.compile(r"^(\.venv/bin/)?(transra|make|python|torchrun|tensorboard|torchbiggraph_\w+|pip)( |$)")
OTHERS = re.compile(r"^(cd|cp|curl|git|jq|mkdir|pre-commit|python3|sh|bash|/tmp/\S+)( |$)")
SHELL = ("", "sh")  # languages of fenced blocks that hold commands
BLOCK = re.compile(r"^```(.*?)$\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def lines(text: str) -> Iterator[str]:
    """Commands of a page as they are written."""
    for line in block_lines(text):
        yield from commands(line)
    for span in re.findall(r"`([^`]+)`", BLOCK.sub("", text)):
        yield from commands(" ".join(span.split()))


def block_lines(text: str) -> Iterator[str]:
    """Lines of indented blocks, and of fenced ones without a language or of a shell."""
    language: str | None = None
    for line in text.splitlines():
        if line.startswith("```"):
            language = line[3:] if language is None else None
        elif language in SHELL or (language is None and line.startswith("    ")):
            yield line.strip()


def files_of(text: str) -> dict[str, str]:
    """Files that a page writes by path: its blocks with a title."""
    return {
        title[1]: content for head, content in BLOCK.findall(text) if (title := re.search(r'title="([^"]+)"', head))
    }


def shell_lines(text: str) -> Iterator[str]:
    """Lines of blocks that a reader types, without remarks and the times of cron."""
    for line in block_lines(text):
        line = re.split(r"\s{2,}|\s#\s", re.sub(r"^([\d*]+ +){5}", "", line))[0]
        if PROGRAM.match(line) or OTHERS.match(line):
            yield line


def commands(line: str) -> Iterator[str]:
    """The commands of one line: a cron line and a chain hold several, a remark or a redirection ends one."""
    line = re.sub(r"^([\d*]+ +){5}", "", line)
    for part in re.split(r"&&|;", re.split(r"\s{2,}|\s#\s", line)[0]):
        if PROGRAM.match(command := part.split(" > ")[0].strip()):
            yield command.removeprefix(".venv/bin/")


def readings(command: str) -> Iterator[list[str]]:
    """The words that a synopsis stands for: either of `a|b`, and values for what is written in capitals."""
    words = shlex.split(re.sub(r"\[(-[^\]]*|[A-Z][^\]]*)\]", r"\1", command).replace("...", ""))
    choices = [word.split("|") if re.fullmatch(r"[\w-]+(\|[\w-]+)+", word) else [word] for word in words]
    for chosen in product(*choices):
        yield [VALUES.get(word, word) for word in chosen]
