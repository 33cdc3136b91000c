"""The verdicts of `make faults`: what counts as lost. The attacks themselves take minutes and are run by hand."""

import os
from pathlib import Path

import pytest

from benchmarks.faults.__main__ import differences, judged, table, temporary
from benchmarks.faults.commands import Command
from benchmarks.faults.kinds import Fault, kinds, signals
from benchmarks.faults.world import Situation, facts_of
from pipeline.workspace.workspace import Run

TERM = signals("TERM", "main")


@pytest.mark.parametrize(
    ("answer", "text", "wrong"),
    [
        (130, "transra: interrupted; the same command goes on\n", 0),
        (0, "transra: warning: one\ntransra: warning: two\n", 0),
        (0, "", 0),
        (-15, "", 1),
        (None, "", 1),
        (130, "Traceback (most recent call last):\n  File\n", 1),
        (130, "transra: one\ntransra: two\n", 1),
        (70, "Error in atexit._run_exitfuncs:\n", 2),
    ],
)
def test_an_answer_is_documented_and_one_line(tmp_path: Path, answer: int | None, text: str, wrong: int) -> None:
    (tmp_path / "said").write_text(text)
    assert len(judged(answer, TERM.answers, tmp_path / "said")) == wrong


def test_every_kind_says_which_answers_it_expects() -> None:
    found: list[Fault] = kinds()
    assert len({fault.name for fault in found}) == len(found) >= 10
    assert all(fault.answers and 65 not in fault.answers for fault in found)


def test_what_is_left_and_what_differs_is_found(tmp_path: Path) -> None:
    (tmp_path / "run" / "model.partial").mkdir(parents=True)
    (tmp_path / ".calibration-x").mkdir()
    assert len(temporary(tmp_path)) == 2
    assert differences({"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"}) == ["b differs", "c differs"]
    (tmp_path / "20260101-run" / "graph").mkdir(parents=True)
    (tmp_path / "20260101-run" / "graph" / "file").write_text("x")
    one = facts_of(Run(tmp_path / "20260101-run"))
    (tmp_path / "20260101-run" / "graph" / "file").write_text("y")
    assert one != facts_of(Run(tmp_path / "20260101-run")) and set(one) == {"graph/file"}


def test_the_table_counts_what_was_lost() -> None:
    tries = [{"fault": "f", "situation": place, "lost": lost} for place, lost in (("a", []), ("b", ["x"]), ("b", []))]
    assert table(tries, "fault").splitlines()[-2:] == ["| f | 3 | 2 | 1 |", "| all | 3 | 2 | 1 |"]
    assert table(tries, "situation").splitlines()[2:4] == ["| a | 1 | 1 | 0 |", "| b | 2 | 1 | 1 |"]


def test_a_command_is_run_in_a_session_of_its_own(tmp_path: Path) -> None:
    situation = Situation("none", tmp_path, tmp_path, ("run",))
    command = Command.start(situation.arguments(tmp_path / "workspace"), tmp_path / "said")
    assert command.wait() == 2
    assert command.left() == [] and command.pid != os.getpid()
