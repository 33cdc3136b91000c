"""The promises of SECURITY.md that no other test holds; it names the test of each."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from artifacts.embeddings import Embeddings
from pipeline.cli import main
from tests.test_structure import MODULES
from tests.worlds.night_world import latest_of, transra, workspace_of, write_config, write_day
from tests.worlds.s3_server import SECRET, S3Server

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = (REPOSITORY / "SECURITY.md").read_text()
HMAC_KEY = "a-key-that-nobody-must-see"

# Calls that run what a file says. `pickle` joins processes of one command, whose bytes never lie in a file.
UNPICKLING = {"pickle.load", "pickle.Unpickler", "torch.jit.load", "torch.export.load", "torch.hub.load", "joblib.load"}
UNPICKLING |= {
    "pandas.read_pickle",
    "shelve.open",
    "marshal.loads",
    "marshal.load",
    "eval",
    "exec",
    "os.system",
    "os.popen",
}
OF_ONE_COMMAND = {"pbg_transra.backends.worker_failure"}


def calls(module: str) -> list[tuple[str, ast.Call]]:
    """Calls of a module by the full name of what is called."""
    tree = ast.parse(MODULES[module].read_text())
    full = {
        alias.asname or alias.name: alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            full |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            first, _, rest = ast.unparse(node.func).partition(".")
            found.append((f"{full.get(first, first)}{'.' if rest else ''}{rest}", node))
    return found


def says(call: ast.Call, key: str) -> object:
    return next((ast.literal_eval(one.value) for one in call.keywords if one.arg == key), None)


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_unpickled(module: str) -> None:
    for name, call in calls(module):
        if name == "torch.load":
            assert says(call, "weights_only") is True, ast.unparse(call)
        if name == "numpy.load":
            assert not says(call, "allow_pickle"), ast.unparse(call)
        if name == "subprocess.Popen" or name.startswith("subprocess.") and name.endswith(("run", "call", "output")):
            assert not says(call, "shell"), ast.unparse(call)
        assert name not in UNPICKLING, ast.unparse(call)
        assert name != "pickle.loads" or module in OF_ONE_COMMAND, ast.unparse(call)


WATCHED = """
import os, sys
from pathlib import Path
seen = Path(sys.argv.pop(1))
def hook(event, arguments):
    if event in ("socket.bind", "socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        with seen.open("a") as file:
            file.write(f"{event} {arguments!r}\\n")
sys.addaudithook(hook)
from pipeline.cli import main
sys.exit(main(sys.argv[1:]))
"""


def watched(root: Path, *words: str) -> list[str]:
    """The network that a command asked Python for, in its workers too."""
    seen = root / "seen.txt"
    done = subprocess.run([sys.executable, "-c", WATCHED, str(seen), *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [line for line in (seen.read_text() if seen.exists() else "").splitlines() if "AF_UNIX" not in line]


def test_a_night_asks_for_no_network_and_nothing_listens(tmp_path: Path) -> None:
    write_day(tmp_path, 1)
    write_config(tmp_path, {"workers": 2}, export={"formats": ["hdf5", "parquet"]}, prometheus="night.prom")
    assert watched(tmp_path, "run", str(tmp_path / "c.json"), "--root", str(tmp_path), "--quiet") == []


def test_the_watch_sees_who_listens(tmp_path: Path) -> None:
    listening = "import socket; socket.create_server(('127.0.0.1', 0)).close()"
    script = WATCHED.replace("sys.exit(main(sys.argv[1:]))", listening)
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "seen.txt")], check=True)
    assert "socket.bind" in (tmp_path / "seen.txt").read_text()


HOSTILE = ("../../../evil", "/etc/cron.d/evil", "..", ".", "~/evil", "a/../../b", "C:\\evil", "*", "%s%n", "{{7*7}}")
HOSTILE += ("'; DROP TABLE source_log; --", '"; --', "$(touch evil)", "`touch evil`", "read_text('/etc/passwd')")


def tree(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def test_names_from_data_are_neither_paths_nor_sql(tmp_path: Path) -> None:
    """Ids and names of relations; in every format that they leave in, and in each command that shows them."""
    root = tmp_path / "a/b/c/root"
    (root / "log").mkdir(parents=True)
    rows = [(one, other, name) for name in HOSTILE for one in HOSTILE for other in HOSTILE]
    pd.DataFrame(rows, columns=["user", "pin", "what"]).to_parquet(root / "log/day.parquet")
    write_config(root, {"tensorboard": False}, export={"formats": ["hdf5", "parquet", "tsv"]})
    config = json.loads((root / "c.json").read_text())
    config["graph"]["relations"][0] |= {"name": None, "relation_column": "what"}
    config["graph"]["write_names"] = True
    (root / "c.json").write_text(json.dumps(config))
    assert transra(root, "run", "--quiet") == 0
    export = Embeddings.open(root / "runs/c/latest")
    assert {export.id("user", row) for row in range(export.count("user"))} == set(HOSTILE)
    assert {relation.name for relation in export.relations} == set(HOSTILE)
    for command in (["neighbors", "user", HOSTILE[0]], ["card"], ["status"]):
        assert transra(root, command[0], *command[1:], "--quiet") == 0
    assert main(["config", "pbg", str(root / "c.json"), "--root", str(root), "--quiet"]) == 0
    assert {path.name for path in tmp_path.rglob("*") if "evil" in path.name} == set()
    assert tree(tmp_path) - {f"a/b/c/root/{name}" for name in tree(root)} == {"a", "a/b", "a/b/c", "a/b/c/root"}
    kinds = {"user", "pin"}
    assert {path.name for path in (root / "runs/c/latest/graph/entities").iterdir()} == kinds
    assert {path.stem for path in (root / "runs/c/latest/export").glob("*.parquet")} == kinds


@pytest.mark.parametrize("name", ["..", ".", "../x", "a/b", "/x", "", "a\nb", "x.y"])
def test_entity_types_are_names_of_directories(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_config(tmp_path)
    text = (tmp_path / "c.json").read_text().replace('"user": {}', f"{json.dumps(name)}: {{}}")
    (tmp_path / "c.json").write_text(text)
    assert transra(tmp_path, "partition") == 2
    assert "graph.entities" in capsys.readouterr().err


def test_a_source_is_the_files_that_its_pattern_names(tmp_path: Path) -> None:
    """Not what lies beside them, though its name is what a glob of DuckDB would take."""
    (tmp_path / "log").mkdir()
    for name, user in (("day[1]", "in"), ("day1", "out"), ("DAY[1]", "out")):
        pd.DataFrame({"user": [user], "pin": ["p"]}).to_parquet(tmp_path / "log" / f"{name}.parquet")
    write_config(tmp_path)
    text = (tmp_path / "c.json").read_text().replace("log/*.parquet", "log/day[1].parquet")
    (tmp_path / "c.json").write_text(text)
    assert transra(tmp_path, "partition", "--quiet", "--set", "graph.split={random: {}}") == 0
    (run,) = workspace_of(tmp_path).runs()
    found = pd.concat(map(pd.read_parquet, (run.path / "graph/entities/user").iterdir()))
    assert found["id"].tolist() == ["in"]


@pytest.mark.parametrize(
    ("umask", "others"),
    [(0o027, 0o027), *(pytest.param(one, one, marks=pytest.mark.slow) for one in (0o077, 0o022))],
)
def test_files_are_as_private_as_the_umask_says(tmp_path: Path, umask: int, others: int) -> None:
    """Whatever writes them: DuckDB, HDF5, Arrow, torch. Prometheus' file, of another daemon, is the one exception."""
    write_day(tmp_path, 1)
    store = f"file://{tmp_path}/store"
    formats = {"formats": ["hdf5", "parquet", "tsv"]}
    write_config(tmp_path, export=formats, publish={"url": store}, prometheus="night.prom")
    command = [
        sys.executable,
        "-m",
        "pipeline.cli",
        "run",
        str(tmp_path / "c.json"),
        "--root",
        str(tmp_path),
        "--quiet",
    ]
    subprocess.run(command, check=True, umask=umask)
    made = [path for top in ("runs", "store") for path in (tmp_path / top).rglob("*") if not path.is_symlink()]
    assert len(made) > 30
    loose = {str(path): oct(path.stat().st_mode) for path in made if path.stat().st_mode & others}
    assert loose == {}


def test_no_secret_is_written_or_said(
    tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The key of pseudonyms and a store's credentials: in a night that succeeds, and in ones that fail with --debug."""
    monkeypatch.setenv("TRANSRA_ID_KEY", HMAC_KEY)
    write_day(tmp_path, 1)
    ids = {"hash": "hmac-sha256", "key_env": "TRANSRA_ID_KEY"}

    def configure(**more: Any) -> None:
        write_config(tmp_path, publish={"url": "s3://bucket/vectors"}, on_failure=["env"], on_success=["env"], **more)
        config = json.loads((tmp_path / "c.json").read_text())
        config["graph"]["ids"] = ids
        (tmp_path / "c.json").write_text(json.dumps(config))

    configure()
    assert transra(tmp_path, "run") == 0
    assert transra(tmp_path, "card") == 0
    # DuckDB repeats a text that is no number, and one that an error is to have.
    for sql in ("getvariable('inner_pad')::VARCHAR::INTEGER", "error(getvariable('outer_pad')::VARCHAR)"):
        configure(checks=[{"kind": "sql", "sql": f"SELECT {sql}", "min": 0}])
        assert transra(tmp_path, "run", "--debug") in (0, 2, 65)
    (tmp_path / "log/day-2.parquet").write_bytes(b"PAR1, but no more")
    configure()
    assert transra(tmp_path, "run", "--debug") == 65
    said = "".join(capsys.readouterr())
    padded = ["".join(chr(byte ^ pad) for byte in HMAC_KEY.encode()) for pad in (0x36, 0x5C)]
    for secret in (HMAC_KEY, SECRET, *padded):
        assert secret not in said and repr(secret)[1:-1] not in said
        for path in (tmp_path / "runs").rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                assert secret.encode() not in content and json.dumps(secret)[1:-1].encode() not in content, path
    assert latest_of(tmp_path).id in said


def test_every_promise_names_tests_that_are_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)
    assert len(named) > 12
    for path, name in named:
        assert (REPOSITORY / path).exists(), path
        assert not name or f"def {name}(" in (REPOSITORY / path).read_text(), (path, name)
