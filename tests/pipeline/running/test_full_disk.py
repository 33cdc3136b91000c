"""A limit on the size of files, as a full disk: exit code 73, one line, nothing half-made, whoever meets it."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from artifacts.files.hdf5 import new_file
from artifacts.machine.exhausted import exhausted
from partitioning import GraphConfig
from pipeline.cli import main
from tests.worlds.ledger_world import ledger_config, rows_of, write_day, write_tables

REPOSITORY = Path(__file__).resolve().parents[3]
MODEL = {"dimension": 40, "epochs": 1, "workers": 1, "operator": "transr"}
LIMITED = """
import os, resource, sys
from pipeline.cli import main
print(os.getpid(), flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
sys.exit(main(sys.argv[1:]))
"""


def options(root: Path, workspace: str) -> list[str]:
    return [str(root / "c.json"), "--root", str(root), "--workspace", str(root / workspace)]


def transra(root: Path, command: str, workspace: str, limit: int) -> "subprocess.CompletedProcess[str]":
    code = [sys.executable, "-c", LIMITED.format(limit=limit), command, *options(root, workspace)]
    return subprocess.run(code, cwd=REPOSITORY, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace `whole` whose run has an export of some 500 KB, which can be made again under limits."""
    root = tmp_path_factory.mktemp("full")
    write_tables(root)
    write_day(root, "day-1", rows_of(1, range(2000)))
    graph = json.loads(GraphConfig.model_validate(ledger_config()).model_dump_json())
    (root / "c.json").write_text(json.dumps({"graph": graph, "model": MODEL}))
    for command in ("partition", "train", "export"):
        assert main([command, *options(root, "whole")]) == 0
    return root


@pytest.mark.parametrize(("command", "limit"), [("train", 300), ("export", 300), ("export", 200_000)])
def test_the_command_line_says_so_in_one_line(root: Path, tmp_path: Path, command: str, limit: int) -> None:
    workspace = Path(shutil.copytree(root / "whole", tmp_path / "copy", symlinks=True))
    run = (workspace / "latest").resolve()
    for stage in {"train": ("model", "export"), "export": ("export",)}[command]:
        shutil.rmtree(run / stage)
    before = {path.relative_to(run) for path in run.rglob("*")}
    done = transra(root, command, str(workspace), limit)
    assert (done.returncode, done.stderr.count("\n")) == (73, 1), done.stderr
    assert done.stderr.startswith("transra: ") and "the disk is full" in done.stderr
    runs = [path for path in workspace.iterdir() if path.is_dir() and not path.is_symlink()]
    left = {str(path.relative_to(run)) for each in runs for path in each.rglob("*")} - {str(path) for path in before}
    assert not [name for name in left if "partial" in name and not name.startswith("model.partial")]
    assert not list(Path("/dev/shm").glob(f"torch_{done.stdout.split()[0]}_*"))


@pytest.mark.parametrize("kilobytes", [0, 2, 500])
def test_hdf5_never_meets_a_failed_write(tmp_path: Path, kilobytes: int) -> None:
    """In a process of its own: without the checked stream it would die of signal 11, some of them at exit."""
    script = f"""
import resource, sys
from pathlib import Path
import numpy as np
from artifacts.files.hdf5 import new_file
resource.setrlimit(resource.RLIMIT_FSIZE, ({kilobytes} * 1000 + 1, {kilobytes} * 1000 + 1))
try:
    with new_file(Path(sys.argv[1])) as file:
        for index in range(20):
            group = file.create_group(f"group {{index}}")
            group.attrs["name"] = "x" * 1000
            group.create_dataset("data", data=np.arange(10_000))
except OSError as error:
    sys.exit(f"{{error.strerror}}, {{Path(error.filename).name}}")
"""
    path = tmp_path / "new.h5"
    command = [sys.executable, "-c", script, str(path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "File too large, new.h5\n")
    assert not path.exists()


def test_torch_never_meets_a_failed_write(tmp_path: Path) -> None:
    """It ended the process by signal 6, and said so in 17 lines, when the end of a zip file could not be written."""
    script = """
import resource, sys
from pathlib import Path
import torch
from ranker.training.weights import save
value = {"w": torch.zeros(2560), "b": torch.zeros(10)}
save(Path(sys.argv[1]), value)
for size in map(int, sys.argv[2:]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        save(Path(sys.argv[1]), {name: each + 1 for name, each in value.items()})
    except OSError as error:
        print(error.strerror, size, [path.name for path in Path(sys.argv[1]).parent.iterdir()])
"""
    path, sizes = tmp_path / "state.pt", ("1", "1000", "5000", "11120", "11200")
    command = [sys.executable, "-c", script, str(path), *sizes]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"File too large {size} ['state.pt']" for size in sizes]
    assert list(tmp_path.iterdir()) == [path] and not torch.load(path, weights_only=True)["b"].any(), "the old one"


def test_torch_writes_into_streams_alone() -> None:
    """A path of torch's own is the fault above: every call is one of these, which were looked at."""
    call = re.compile(r"torch\.(?:\w+\.)?save\((.+?)\)(?:  #.*)?\n")
    files = [
        path
        for room in ("artifacts", "pbg_transra", "pipeline", "ranker")
        for path in Path(REPOSITORY / room).rglob("*.py")
    ]
    found = [asked for path in files for asked in call.findall(path.read_text(encoding="utf-8"))]
    assert sorted(found) == ["program, whole", "value, cast(IO[bytes], stream)"]


def test_a_whole_file_is_what_h5py_writes(tmp_path: Path) -> None:
    data = np.arange(100_000)
    with new_file(tmp_path / "ours.h5") as ours, h5py.File(tmp_path / "theirs.h5", "w") as theirs:
        for file in (ours, theirs):
            file.attrs["format_version"] = 1
            file.create_group("a/b").create_dataset("c", data=data, track_times=False)
    with h5py.File(tmp_path / "ours.h5") as file:
        assert (file["a/b/c"][:] == data).all() and file["a/b/c"].id.get_offset() % 8 == 0


def test_what_fails_in_the_block_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), new_file(tmp_path / "new.h5") as file:
        file["a"] = 1
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), "the disk is full (No space left on device)"),
        (OSError(122, "Disk quota exceeded", "a/b"), "a/b: the disk is full (Disk quota exceeded)"),
        (OSError("10 requested and 3 written"), "the disk is full (10 requested and 3 written)"),
        (RuntimeError("unable to write\nNo space left on device"), "the disk is full (unable to write)"),
        (RuntimeError("basic_ios::clear: iostream error"), "the disk is full (basic_ios::clear: iostream error)"),
        (MemoryError("cannot allocate 80.0 GiB"), "there is not enough memory (cannot allocate 80.0 GiB)"),
        (RuntimeError("DefaultCPUAllocator: can't allocate"), "there is not enough memory (DefaultCPUAllocator: "),
        (OSError(2, "No such file or directory"), None),
        (RuntimeError("something else"), None),
        (ValueError("No space left on device"), None),
    ],
)
def test_each_library_has_its_own_words(error: Exception, said: str | None) -> None:
    ours = exhausted(error)
    assert (ours is None) if said is None else (ours is not None and str(ours).startswith(said))
