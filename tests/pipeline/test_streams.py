"""What the command line prints and what it is told by signals: lines of ours only, and an orderly end."""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from artifacts.errors import DataError
from artifacts.printable import one_line, printable
from pipeline import cli
from pipeline.arguments import parser
from pipeline.cli import main
from pipeline.output.log import log_event, logged

REPOSITORY = Path(__file__).resolve().parents[2]
FORGED = "x\ntransra: done\x1b[31m\r\x07\x85\u2028\u202e\udcff"


def run(command: str, *arguments: str, **how) -> "subprocess.CompletedProcess[str]":
    """A shell command in which $T is the command line."""
    script = f'T="{sys.executable} -m pipeline.cli"; {command}'
    options = {"cwd": REPOSITORY, "capture_output": True, "text": True, "check": False, **how}
    return subprocess.run(["bash", "-c", script, "bash", *arguments], **options)


def test_data_stays_on_its_line_and_commands_no_terminal() -> None:
    assert one_line(FORGED) == r"x\ntransra: done\x1b[31m\r\x07\x85\u2028\u202e\udcff"
    assert one_line("Grüße, 你好 🙂") == "Grüße, 你好 🙂"
    assert printable("a\nb\x1b") == "a\nb\\x1b"


def test_an_error_is_one_line_whatever_it_repeats(capsys: pytest.CaptureFixture[str]) -> None:
    options = parser().parse_args(["status", "c.json"])
    assert cli.fail(options, 65, DataError(f"log.csv, row 1: id '{FORGED}'", "second").lines) == 65
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and said[0].startswith("transra: log.csv, row 1: id 'x\\ntransra: done\\x1b[31m")


def test_neighbors_are_a_line_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    from artifacts.embeddings import Neighbor

    near = [[Neighbor(FORGED, 0.5)] * 3]
    answering = SimpleNamespace(
        neighbors=lambda *asked, **how: near, named=lambda type, id: {"id": id}, attributes={"similarity": "dot"}
    )
    monkeypatch.setattr("pipeline.neighbors.published_vectors", lambda context: answering)
    command = ["neighbors", str(REPOSITORY / "configs/demo.json"), "user", "u1", "--workspace", str(tmp_path)]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 3 and all("\\ntransra: done" in line for line in out.splitlines())
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["neighbors"][0]["id"] == FORGED


@pytest.mark.parametrize("closed", ["2>&-", "1>&- 2>&-", "0<&- 1>&- 2>&-"])
def test_closed_streams_change_nothing(tmp_path: Path, closed: str) -> None:
    done = run(f"$T status {tmp_path}/absent.json {closed}")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


def test_a_reader_that_leaves_does_not_stop_the_command() -> None:
    done = run("$T config show configs/demo.json | head -c 1; echo ${PIPESTATUS[0]}")
    assert (done.stdout, done.stderr) == ("{0\n", "")


def test_an_output_that_is_full_is_said() -> None:
    done = run("$T config show configs/demo.json > /dev/full")
    assert done.returncode == 73 and done.stderr == "transra: the disk is full (No space left on device)\n"


def test_a_terminal_that_knows_ascii_only() -> None:
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = run("$T status ./ü.json", env=env)
    assert done.returncode == 2 and "\\xfc.json" in done.stderr


@pytest.mark.parametrize("option", ["--workspace", "--root"])
@pytest.mark.parametrize("path", ["a\0b", "a\udcff"])
def test_paths_that_are_no_text_are_a_usage_error(capsys, option: str, path: str) -> None:
    assert main(["status", str(REPOSITORY / "configs/demo.json"), option, path]) == 2
    assert "expected a path in UTF-8 without NUL" in capsys.readouterr().err


def test_a_log_whose_name_is_no_text_is_bad_data(tmp_path: Path, capsys) -> None:
    config = minimal()
    (tmp_path / "c.json").write_text(json.dumps(config))
    with open(os.fsencode(tmp_path) + b"/log-\xff.csv", "wb") as file:
        file.write(b"user,pin\n1,2\n")
    assert main(["partition", str(tmp_path / "c.json"), "--root", str(tmp_path)]) == 65
    assert "log-\\udcff.csv': the name of the file is not UTF-8; rename it" in capsys.readouterr().err


def minimal() -> dict:
    from tests.partitioning.test_errors import config as graph

    raw = graph()
    raw["sources"]["log"]["path"] = "log*.csv"
    return {"graph": raw, "model": {"operator": "transr"}}


@pytest.mark.parametrize("name", ["latest", ".latest.partial", ".lock", ".holder.json"])
def test_a_directory_where_a_file_of_ours_belongs(tmp_path: Path, capsys, name: str) -> None:
    (tmp_path / name).mkdir()
    assert main(["run", str(REPOSITORY / "configs/demo.json"), "--workspace", str(tmp_path)]) == 73
    said = capsys.readouterr().err
    assert said == f"transra: {tmp_path / name}: found a directory where a file or link of ours belongs; move it away\n"


def test_a_second_signal_changes_nothing(tmp_path: Path) -> None:
    """The clean-up of the first one takes its time; whoever asks again does not cut it short."""
    script = """
import os, signal, sys, threading, time
from pathlib import Path
from pipeline import cli, commands
aside = Path(sys.argv[1])
def action(options):
    aside.touch()
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
            time.sleep(0.05)
        aside.unlink()
commands.show_status = action
import atexit
atexit.register(lambda: os.kill(os.getpid(), signal.SIGTERM))
sys.argv = ["transra", "status", "c.json"]
sys.exit(cli.main())
"""
    command = [sys.executable, "-c", script, str(tmp_path / "aside")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 130 and done.stderr.startswith("transra: interrupted") and done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_signals_are_as_they_were_after_a_command(capsys) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    main(["status", "absent.json"])
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_a_log_on_a_full_disk_is_silent(capsys) -> None:
    with logged(Path("/dev/full")):
        for _ in range(3):
            log_event("x" * 100_000)
    assert capsys.readouterr() == ("", "")


def test_a_stream_of_ours_escapes_what_it_cannot_say(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    cli.open_streams()
    print("ü", file=stream, flush=True)
    assert stream.buffer.getvalue() == b"\\xfc\n"
