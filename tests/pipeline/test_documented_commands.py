"""Every line that README and docs tell people to type is run, on a small world, or stands in NOT_RUN with its reason.

A page's lines are run in their order, in a copy of one root. What a line asks for in large is asked for in small
(SMALLER). Code blocks of a page that have a title are files, and are written before.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.cli import main
from tests.worlds.pages import PAGES, REPOSITORY, files_of, readings, shell_lines
from tests.worlds.readers_root import make_readers_root, transra

NOT_RUN = {
    "git clone <this repository> transra && cd transra": "needs an address",
    "make partition train export": "the demo in its full size; CI's `make check-wheel` runs the same stages",
    "make test": "this is it",
    "make venv": "downloads an environment; CI begins with it",
    "make lint && make docs && make test": "CI runs them",
    ".venv/bin/pip install pre-commit && .venv/bin/pre-commit install": "changes the checkout's git hooks",
    "python3 -m venv /tmp/audit && /tmp/audit/bin/pip install pip-audit": "needs PyPI's advisories",
    "/tmp/audit/bin/pip-audit --path .venv/lib/python3.*/site-packages": "needs PyPI's advisories",
    "pip install '.[tune]'": "would change the environment of these tests",
    "pip install 'transra[completion]'": "would change the environment of these tests",
    "pip install 'transra[serve]'": "would change the environment of these tests",
    "transra serve configs/demo.json": "ends when told to; tests/pipeline/serving/test_serve.py asks one",
    "transra serve configs/demo.json --port 0": "ends when told to; tests/pipeline/serving/test_serve.py asks one",
    "python -m ranker benchmarks/criteo_rank.json --out runs/criteo_rank": "minutes, and a data set of others",
    "transra train CONFIG --rank 0": "waits for another machine; tests/pbg_transra/ranks/test_ranks.py starts both",
    "transra train CONFIG --rank 1": "waits for another machine; tests/pbg_transra/ranks/test_ranks.py starts both",
    "torchrun --nproc-per-node=2 -m pipeline.cli train configs/mine.json": "see tests/pbg_transra/ranks/test_ranks.py",
    "cd /shared/transra": "needs several machines that share a file system",
    "sh -c 'cd /shared/transra && RANK=$JOB_COMPLETION_INDEX WORLD_SIZE=4 MASTER_ADDR=train-0.transra "
    "exec .venv/bin/transra train configs/mine.json'": "needs several machines that share a file system",
    'make experiments ARGS="--data demo"': "an hour",
    'make experiments ARGS="--data demo_anchor --seeds 0"': "an hour",
    'make experiments ARGS="--data amazon_grocery --seeds 0"': "an hour, and a data set of others",
}
SMALLER = {
    "--requests 20000": "",
    "simulate configs/demo_rank.json": "simulate configs/demo_rank.json --requests 200",
    "--minutes 30": "--trials 1",
    "--vector=0.1,-0.2,0.3": "--vector=" + ",".join(["0.1"] * 8),
    "--nproc-per-node=2": "--nproc-per-node=2 --standalone",
    "cd /srv/transra && ": "",
    ".venv/bin/": "",
}
QUICK = {"README.md", "start.md", "looking.md"}  # the others together take minutes of CI's twenty-five
MARKS = {page.name: [pytest.mark.slow] for page in PAGES if page.name not in QUICK}
MARKS["report.md"] = [pytest.mark.slow, pytest.mark.reports]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("prepared") / "root"
    root.mkdir()
    make_readers_root(root)
    return root


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name, marks=MARKS.get(page.name, ())) for page in PAGES])
def test_lines_of_a_page_do_what_they_say(
    page: Path,
    prepared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    typed = [line for line in shell_lines(page.read_text()) if line not in NOT_RUN]
    if not typed:
        pytest.skip("nothing to type")
    root = Path(shutil.copytree(prepared, tmp_path / "root", symlinks=True))
    monkeypatch.chdir(root)
    write_files(page, root)
    if "../shared/data" in page.read_text():
        (tmp_path / "shared").symlink_to(request.getfixturevalue("shared_data").parent)
    for line in typed:
        assert run(line, root, capsys) == 0, f"{page.name}: {line}\n{capsys.readouterr().err}"


def test_what_is_not_run_is_still_written_somewhere() -> None:
    """And a page in another form does not pass unread."""
    typed = {line for page in PAGES for line in shell_lines(page.read_text())}
    assert set(NOT_RUN) <= typed
    assert len(typed) > 45


def write_files(page: Path, root: Path) -> None:
    """What the page writes; whoever writes logs has no others."""
    files = files_of(page.read_text())
    if any(path.startswith("logs/") for path in files):
        shutil.rmtree(root / "logs")
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def run(line: str, root: Path, capsys: pytest.CaptureFixture[str]) -> int:
    """The exit code of a line, made small."""
    for large, small in SMALLER.items():
        line = line.replace(large, small)
    line, _, output = line.partition(" > ")
    (words,) = readings(line)
    words = [a_run(root, words) if re.fullmatch(r"RUN|\d{8}T.*", word) else word for word in words]
    if "--scores" in words:
        write_scores(root)
    if words[1] == "init":  # the reader has no config yet
        (root / "configs/mine.json").unlink(missing_ok=True)
        shutil.rmtree(root / "runs/mine", ignore_errors=True)
    if words[0] != "transra":
        return in_a_shell(words)
    capsys.readouterr()
    code = transra(root, *words[1:]) if words[1:] != ["config", "schema"] else main(words[1:])
    if output:
        (root / output).write_text(capsys.readouterr().out)
    return code


def a_run(root: Path, words: list[str]) -> str:
    """The newest run of the workspace that the words are about."""
    (config,) = (Path(word).stem for word in words if word.endswith(".json"))
    return max(path.name for path in (root / "runs" / config).glob("2*"))


def write_scores(root: Path) -> None:
    """What a team's own model would have said of the candidates that the line before has written."""
    table = pq.read_table(root / "candidates.parquet", columns=["request", "candidate"])
    pq.write_table(table.append_column("score", [[0.5] * len(table)]), root / "scores.parquet")


def in_a_shell(words: list[str]) -> int:
    if shutil.which(words[0], path=(path := f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")) is None:
        pytest.skip(f"no {words[0]} on this machine")
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(["bash", "-c", shlex.join(words)], env=environment, capture_output=True, text=True)
    print(done.stderr, file=sys.stderr)
    return done.returncode
