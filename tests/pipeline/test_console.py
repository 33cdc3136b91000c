"""What a person sees of a stage that is at work."""

import io
import time

import pytest

from pipeline.output.console import Console


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
