"""What a person sees of a stage that is at work."""

import io
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.arguments import parser
from pipeline.cli import main
from pipeline.examples import EXAMPLES
from pipeline.output.console import Console, write


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_the_step_and_how_much_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with Console().steps("partition") as progress:
        time.sleep(0.2)  # the bar is drawn ten times a second
        progress("entities", 0.25)
    assert "partition:  25%" in terminal.getvalue() and "entities" in terminal.getvalue()


@pytest.mark.parametrize("console", [Console(quiet=True), Console(as_json=True)])
def test_nobody_is_shown_anything_who_does_not_watch(monkeypatch: pytest.MonkeyPatch, console: Console) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with console.steps("partition") as progress:
        progress("entities", 0.25)
    assert terminal.getvalue() == ""


def test_work_without_a_bar_says_how_far_it_is_after_half_a_minute_of_silence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr("pipeline.output.console.monotonic", lambda: clock[0])
    console = Console()
    with console.steps("fit") as progress:
        for clock[0], step, fraction in ((29.0, "a", 0.1), (30.0, "b\n", 0.2), (31.0, "c", 0.3), (61.0, "d", 0.4)):
            progress(step, fraction)
        clock[0] = 80.0
        console.say("a line of its own")
        for clock[0], step, fraction in ((95.0, "e", 0.5), (110.0, "f", 0.6)):
            progress(step, fraction)
    said = capsys.readouterr().out.splitlines()
    assert said == ["fit: b\\n, 20% done", "fit: d, 40% done", "a line of its own", "fit: f, 60% done"]
    with Console(quiet=True).steps("fit") as progress:
        clock[0] = 999.0
        progress("e", 0.5)
    assert capsys.readouterr().out == ""


def test_a_step_that_tells_nothing_is_no_longer_silent_than_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was told last is said, and for how long nothing else was; of a stage that told nothing, that it works."""
    monkeypatch.setattr("pipeline.output.console.SILENT", 0.3)
    monkeypatch.setattr("pipeline.output.console.LOOKS", 0.02)
    with Console().steps("fit"):
        time.sleep(0.5)
    assert capsys.readouterr().out == "fit: at work\n"
    with Console().lines("demo-data") as tell:
        tell("7 rows written", None)
        time.sleep(1.4)
    first, *more = capsys.readouterr().out.splitlines()
    assert first == "demo-data: 7 rows written" and more, "also where a step takes long by itself"
    assert all(re.fullmatch(r"demo-data: 7 rows written, for \d s", line) for line in more)
    time.sleep(0.5)
    assert capsys.readouterr().out == "", "and no longer than the work"
    with Console(quiet=True).steps("fit"), Console(as_json=True).steps("fit"):
        time.sleep(0.5)
    assert capsys.readouterr().out == ""


def test_a_bar_says_how_long_it_took_and_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with Console().steps("partition") as progress:
        time.sleep(0.2)
        progress("entities", 0.5)
    assert "00:00<00:00, entities" in terminal.getvalue()


@pytest.mark.parametrize(
    ("environment", "stream", "coloured"),
    [
        ({"TERM": "xterm"}, Terminal, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, Terminal, False),
        ({"TERM": "dumb"}, Terminal, False),
        ({"TERM": "xterm"}, io.StringIO, False),
    ],
)
def test_colours_are_for_terminals_that_want_them(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], stream: type[io.StringIO], coloured: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    out = stream()
    write("a \x1b[31mtext", out, "green")
    assert ("\x1b[32m" in out.getvalue()) == coloured
    assert "\x1b[31m" not in out.getvalue(), "what comes of data commands no terminal"


def test_a_heading_is_for_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream, said in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr("sys.stdout", stream)
        Console().heading("similarity  id")
        assert ("similarity" in stream.getvalue()) == said


def test_every_command_has_examples_that_parse() -> None:
    (commands,) = (action for action in parser()._actions if action.dest == "command")
    assert {*EXAMPLES} == {*commands.choices}
    for name, examples in EXAMPLES.items():
        for example in examples:
            assert parser().parse_args(example.split()).command == name


@pytest.mark.parametrize("command", sorted(EXAMPLES))
def test_help_fits_eighty_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert f"  transra {EXAMPLES[command][0]}" in text


def test_a_shell_completes_commands_and_options(tmp_path: Path) -> None:
    pytest.importorskip("argcomplete")
    for line, expected in (("transra neig", "neighbors"), ("transra run c.json --qui", "--quiet")):
        found = tmp_path / "found"
        asked = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "COMP_TYPE": "9"}
        asked |= {"_ARGCOMPLETE_STDOUT_FILENAME": str(found), "_ARGCOMPLETE_IFS": "\n"}
        script = [sys.executable, "-m", "pipeline.cli"]
        subprocess.run(script, env=os.environ | asked, check=True, cwd=Path(__file__).parents[3])
        assert found.read_text().strip() == expected
