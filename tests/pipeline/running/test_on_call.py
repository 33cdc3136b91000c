"""What the on-call person is told: hooks, Prometheus' file, lines of the log. It changes nothing of what it tells."""

import json
import os
import re
import signal
import stat
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.output.exit_codes import EXIT_CODES
from pipeline.output.prometheus import Sample, exposition, samples_of
from pipeline.running import hooks
from pipeline.workspace import lock
from tests.worlds.night_world import latest_of, transra, workspace_of, write_config, write_day

TELL = ["sh", "-c", 'env | grep ^TRANSRA_ | sort > "$1"; echo said', "tell", "told.txt"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_day(tmp_path, 1)
    return tmp_path


def configure(root: Path, **more: Any) -> None:
    write_config(root, **{"on_success": TELL, "on_failure": TELL, **more})


def told(root: Path) -> dict[str, str]:
    """The facts that the last hook was given, without what these tests were started with."""
    lines = dict(line.partition("=")[::2] for line in (root / "told.txt").read_text().splitlines())
    return {name: value for name, value in lines.items() if name not in os.environ}


def lines_of(run: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.path / "log.jsonl").read_text().splitlines()]


def test_a_hook_is_told_what_a_night_came_to(root: Path) -> None:
    configure(root)
    assert transra(root, "run") == 0
    first = latest_of(root)
    found = told(root)
    assert float(found.pop("TRANSRA_SECONDS")) > 0
    common = {"TRANSRA_CONFIG": str(root / "c.json"), "TRANSRA_WORKSPACE": str(root / "runs/c")}
    facts = {**common, "TRANSRA_COMMAND": "run", "TRANSRA_LATEST": first.id}
    assert found == {
        **facts,
        "TRANSRA_RUN": first.id,
        "TRANSRA_STAGE": "export",
        "TRANSRA_EXIT_CODE": "0",
        "TRANSRA_REASON": "",
    }
    (line,) = [line for line in lines_of(first) if line["message"] == "hook ended"]
    assert (line["hook"], line["program"], line["failed"], line["said"]) == ("on_success", "sh", None, "said")
    write_day(root, 2)
    configure(root, gate={"edges": 0.01})
    assert transra(root, "run") == 65
    found, second = told(root), workspace_of(root).runs()[0]
    assert second != first and found["TRANSRA_LATEST"] == first.id
    assert (found["TRANSRA_RUN"], found["TRANSRA_STAGE"], found["TRANSRA_EXIT_CODE"]) == (second.id, "export", "65")
    assert found["TRANSRA_REASON"].startswith(f"run {second.id} is rejected, latest stays at {first.id}: ")


def test_a_failing_stage_is_named(root: Path) -> None:
    configure(root)
    (root / "log/day-1.parquet").write_bytes(b"PAR1 but no more")
    assert transra(root, "run") == 65
    assert (told(root)["TRANSRA_STAGE"], told(root)["TRANSRA_LATEST"]) == ("partition", "")
    assert "day-1.parquet" in told(root)["TRANSRA_REASON"]


def test_a_locked_workspace_is_told_and_the_hook_holds_none(root: Path) -> None:
    configure(root)
    (root / "runs/c").mkdir(parents=True)
    with lock.locked(root / "runs/c"):
        assert transra(root, "run") == 75
    assert told(root)["TRANSRA_EXIT_CODE"] == "75"
    free = ["flock", "--nonblock", "runs/c/.lock", "touch", "free"]
    write_config(root, on_success=free)
    assert transra(root, "run") == 0 and (root / "free").exists()


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        (["false"], r"false ended with exit code 1"),
        (["/absent/page"], r"/absent/page cannot be run \(.*No such file or directory.*\)"),
        (["log/day-1.parquet"], r"log/day-1.parquet cannot be run \(.*Permission denied.*\)"),
        (["sh", "-c", "kill -9 $$"], r"sh ended with exit code -9"),
        (["sh", "-c", "echo token-1234 >&2; sleep 60 & sleep 60"], r"sh was killed after 0.5 s"),
        (
            ["sh", "-c", "for log in runs/c/2*/log.jsonl; do rm $log; mkdir $log; done"],
            r"not told: IsADirectoryError.*",
        ),
    ],
)
@pytest.mark.parametrize("fails", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_hook_changes_nothing(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    hook: list[str],
    said: str,
    fails: bool,
) -> None:
    """Whether it fails, hangs or is not there."""
    if "killed after" in said:  # the others may be slow to start
        monkeypatch.setattr(hooks, "HOOK_SECONDS", 0.5)
    write_config(root)
    assert transra(root, "run") == 0
    first = latest_of(root)
    write_day(root, 2)
    write_config(root, on_success=hook, on_failure=hook, gate={"edges": 0.01} if fails else None)
    assert transra(root, "run", "--quiet") == (65 if fails else 0)
    assert (latest_of(root) == first) == fails
    name = "on_failure" if fails else "on_success"
    warned = next(line for line in capsys.readouterr().err.splitlines() if "warning" in line)
    stays = rf"; the exit code stays {65 if fails else 0}"
    assert re.fullmatch(rf"transra: warning: ({name}: )?{said}{stays}", warned), warned


def test_a_hook_that_is_interrupted_changes_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_config(root, on_success=["sh", "-c", "touch begun; sleep 60"])

    def interrupt() -> None:
        while not (root / "begun").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    assert transra(root, "run") == 0
    thread.join()
    assert "on_success: sh was interrupted; the exit code stays 0" in capsys.readouterr().err


def test_a_signal_while_a_hook_starts_leaves_none_behind(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its process is there before we know its number."""
    whole, started = subprocess.Popen, []

    def start(*given: Any, **more: Any) -> Any:
        started.append(whole(*given, **more))
        os.kill(os.getpid(), signal.SIGTERM)
        return started[0]

    write_config(root)
    assert transra(root, "run") == 0
    write_config(root, on_success=["sleep", "60"])
    monkeypatch.setattr(hooks.subprocess, "Popen", start)
    assert transra(root, "run") == 0
    assert started[0].returncode == -signal.SIGKILL
    assert "on_success: sleep was interrupted; the exit code stays 0" in capsys.readouterr().err


def test_an_interrupted_command_calls_no_hook(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.stages import STAGES

    def interrupted(*given: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(type(STAGES["train"]), "make", interrupted)
    configure(root)
    assert transra(root, "run") == 130 and not (root / "told.txt").exists()


def test_looking_calls_no_hook(root: Path) -> None:
    configure(root)
    for command in (["run", "--dry-run"], ["status"]):
        assert transra(root, *command) == 0
    assert not (root / "told.txt").exists()


def test_a_hooks_arguments_are_written_nowhere(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_config(root, on_success=["false", "https://hooks.example.org/token-1234"], prometheus="night.prom")
    assert transra(root, "run") == 0
    for path in (root / "runs").rglob("*"):
        assert not path.is_file() or b"token-1234" not in path.read_bytes(), path
    assert "token-1234" not in "".join(capsys.readouterr())
    assert transra(root, "status") == 0 and "stale" not in capsys.readouterr().out
    write_config(root)
    assert transra(root, "run") == 0 and "train: up to date" in capsys.readouterr().out, "they make nothing stale"


# A line of the text format: https://prometheus.io/docs/instrumenting/exposition_formats/
SAMPLE = re.compile(r'[a-z_]+\{[a-z]+="(?:[^"\\\n]|\\["\\n])*"(?:,[a-z]+="(?:[^"\\\n]|\\["\\n])*")*\} (\S+)')


def values(text: str) -> dict[str, float]:
    found = {}
    for line in text.splitlines():
        if not line.startswith(("# HELP transra_", "# TYPE transra_")):
            assert SAMPLE.fullmatch(line), line
            found[line.rpartition(" ")[0]] = float(line.rpartition(" ")[2])
    return found


def test_prometheus_reads_what_a_command_came_to(root: Path) -> None:
    write_config(root, prometheus="textfile/transra.prom", gate={"edges": 0.01})
    (root / "textfile").mkdir()
    before = os.umask(0o077)
    try:
        assert transra(root, "run") == 0
    finally:
        os.umask(before)
    path = root / "textfile/transra.prom"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644, "node_exporter is another user"
    first = values(path.read_text())
    assert first['transra_exit_code{config="c"}'] == 0
    metrics = latest_of(root).metrics()
    for stage, name in (
        ("partition", "edges"),
        ("train", "peak_rss_bytes"),
        ("evaluate", "hits@10"),
        ("export", "seconds"),
    ):
        assert first[f'transra_metric{{config="c",stage="{stage}",name="{name}"}}'] == metrics[stage][name]
    write_day(root, 2)
    assert transra(root, "run") == 65
    second = values(path.read_text())
    assert second['transra_exit_code{config="c"}'] == 65
    published = 'transra_published_timestamp_seconds{config="c"}'
    assert second[published] == first[published] <= second['transra_end_timestamp_seconds{config="c"}']
    assert [path.name for path in (root / "textfile").iterdir()] == ["transra.prom"]


def test_prometheus_file_that_cannot_be_written_changes_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_config(root, prometheus="absent/transra.prom")
    assert transra(root, "run", "--quiet") == 0
    assert re.match(r"transra: warning: prometheus: .*transra.prom: cannot be written \(", capsys.readouterr().err)
    write_config(root, prometheus="metrics.txt")
    assert transra(root, "run") == 2, "node_exporter reads *.prom alone"


def test_any_name_is_a_label() -> None:
    metrics = {
        'st"age': {"a\\b\n": 1, "text": "x", "flag": True, "none": None, "below": {"x": 1}},
        "s": {"nan": float("nan")},
    }
    found = values(exposition('c"\\\n', [Sample("transra_exit_code", {}, 0), *samples_of(metrics)]))
    assert len(found) == 3


def test_lines_of_the_log_are_for_machines(root: Path) -> None:
    """Every line has its run and stage; the last of a stage its rows, seconds and peak memory."""
    write_config(root)
    assert transra(root, "run") == 0
    run = latest_of(root)
    lines = lines_of(run)
    assert all(line["run"] == run.id and line["stage"] in run.metrics() for line in lines)
    ended = {line["stage"]: line for line in lines if line["message"] == "stage finished"}
    metrics = run.metrics()
    assert list(ended) == ["partition", "train", "evaluate", "export"]
    for stage, line in ended.items():
        assert (
            line["seconds"] == metrics[stage]["seconds"] and line["peak_rss_bytes"] == metrics[stage]["peak_rss_bytes"]
        )
    rows = {stage: line["rows"] for stage, line in ended.items()}
    assert rows["partition"] == 400 and rows["export"] == metrics["export"]["entities"] and rows["train"] is None
    assert rows["evaluate"] == metrics["evaluate"]["triples"]


def test_the_table_of_exit_codes_is_that_of_the_page() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs/nightly.md").read_text()
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)} == set(EXIT_CODES)
