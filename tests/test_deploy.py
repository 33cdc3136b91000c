"""The examples of deploy/ do with every exit code what docs/nightly.md says, as far as their programs are here."""

import ast
import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.arguments import parser
from pipeline.output.exit_codes import EXIT_CODES, FOR_A_PERSON, INTERRUPTED

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
BUSY = 75


def night(root: Path, code: int) -> Path:
    """A stand-in for the installation in which the command says a line and ends with a code."""
    (root / ".venv/bin").mkdir(parents=True)
    program = root / ".venv/bin/transra"
    said = "echo 'transra: why' >&2" if code else "true"
    program.write_text(f'#!/bin/sh\necho "$@" > called\n{said}\nexit {code}\n')
    program.chmod(0o755)
    return root


def airflow_arguments() -> dict[str, ast.expr]:
    calls = [
        node for node in ast.walk(ast.parse((DEPLOY / "airflow_dag.py").read_text())) if isinstance(node, ast.Call)
    ]
    (operator,) = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "BashOperator"]
    return {str(keyword.arg): keyword.value for keyword in operator.keywords}


def cron_line() -> str:
    (line,) = re.findall(r"^0 3 \* \* \*  (.*)$", (DEPLOY / "crontab").read_text(), re.MULTILINE)
    assert "%" not in line, "cron makes it a line break"
    return line


def unit() -> configparser.SectionProxy:
    found = configparser.ConfigParser(interpolation=None)
    found.optionxform = str
    found.read(DEPLOY / "transra.service")
    return found["Service"]


def test_all_run_the_same_command() -> None:
    commands = [ast.literal_eval(airflow_arguments()["bash_command"]), unit()["ExecStart"], cron_line()]
    for command in commands:
        (words,) = re.findall(r"\.venv/bin/transra (run \S+ --quiet)", command)
        assert parser().parse_args(words.split()).quiet


@pytest.mark.parametrize("code", EXIT_CODES)
def test_cron_mails_failures_alone(tmp_path: Path, code: int) -> None:
    line = cron_line().replace("/srv/transra", str(night(tmp_path, code)))
    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout == ("" if code in (0, BUSY) else f"exit code {code}: transra: why\n")
    assert (tmp_path / "called").read_text() == "run configs/mine.json --quiet\n"


def test_systemd_knows_what_is_no_failure_and_what_a_person_must_see() -> None:
    fine, final = (
        {int(code) for code in unit()[key].split()} for key in ("SuccessExitStatus", "RestartPreventExitStatus")
    )
    assert fine == {BUSY, INTERRUPTED} and final == FOR_A_PERSON and fine | final < set(EXIT_CODES)
    assert unit()["Restart"] == "on-failure"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_reads_the_units(tmp_path: Path) -> None:
    root = night(tmp_path / "root", 0)
    for name in ("transra.service", "transra.timer"):
        text = (DEPLOY / name).read_text().replace("/srv/transra", str(root)).replace("User=transra\n", "")
        (tmp_path / name).write_text(text)
    verify = [
        "systemd-analyze",
        "verify",
        "--man=no",
        str(tmp_path / "transra.service"),
        str(tmp_path / "transra.timer"),
    ]
    done = subprocess.run(verify, capture_output=True, text=True)
    ours = [line for line in done.stderr.splitlines() if str(tmp_path) in line or line.startswith("transra.")]
    assert ours == []


def test_airflow_skips_a_night_that_finds_another_at_work() -> None:
    assert ast.literal_eval(airflow_arguments()["skip_on_exit_code"]) == BUSY
    assert BUSY in EXIT_CODES and 99 not in EXIT_CODES, "Airflow's own is no code of ours"
