"""A signal ends a command with one line wherever it comes, also where a C library has called Python."""

import subprocess
import sys
from pathlib import Path

import h5py
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
# Each place sends itself a signal while C calls Python, and then goes on for as long as nobody stops it.
FRAME = """
import atexit, gc, os, signal, sys, time, weakref
from pathlib import Path
went_on = Path(sys.argv[1])
signal.signal(signal.SIGINT, signal.default_int_handler)
from pipeline import cli, commands
from artifacts.files import hdf5
from artifacts.machine.interrupts import called_by_c

def ask():
    os.kill(os.getpid(), signal.{signal})

def go_on():
    until = time.monotonic() + 20
    while time.monotonic() < until:
        time.sleep(0.01)
    went_on.touch()

{place}

def action(options):
    place()
    go_on()
    return {{}}

commands.show_status = action
sys.argv = ["transra", "status", "c.json"]
sys.exit(cli.main())
"""
PLACES = {
    "a finaliser": """
class Held:
    def __del__(self): ask(); len("at the latest here")
def place(): Held()
""",
    "a callback of a weak reference": """
class Held: pass
def place():
    held = Held()
    reference = weakref.ref(held, lambda gone: (ask(), len("here")))
    del held
""",
    "the garbage collector": """
class Held:
    def __init__(self): self.self = self
    def __del__(self): ask(); len("here")
def place(): Held(); gc.collect()
""",
    "a generator that is closed": """
def held():
    try: yield
    finally: ask(); len("here")
def place(): next(held())
""",
    "a C callback": """
import ctypes
def called(): ask(); len("here"); return 1
def place(): ctypes.CFUNCTYPE(ctypes.c_int)(called)()
""",
    "HDF5's stream": """
import numpy as np
def place():
    written = os.pwrite
    os.pwrite = lambda *words: (ask(), written(*words))[1]
    with hdf5.new_file(went_on.with_name('vectors.h5')) as file:
        file["x"] = np.arange(100_000)
""",
    "DuckDB": """
import duckdb
from artifacts.expressions.engine import translated
from artifacts.errors import TransraError
def called(x): ask(); len("here"); return x
def place():
    connection = duckdb.connect()
    connection.create_function("f", called, ["BIGINT"], "BIGINT")
    with translated():
        connection.sql("SELECT sum(f(i)) FROM range(100) r(i)").fetchall()
""",
    "what is said to be an error of the data": """
from artifacts.errors import DataError
def place():
    try: ask(); len("here")
    except BaseException as error: raise DataError("day.parquet: expected a whole file") from error
""",
    "code that swallows it": """
from contextlib import suppress
def place():
    with suppress(BaseException): ask(); len("here")
""",
    "an import": """
from pipeline import arguments
arguments.parser = lambda: (ask(), go_on())
def place(): pass
""",
}


@pytest.mark.parametrize(
    ("place", "name"), [*((place, "SIGINT") for place in PLACES), ("a finaliser", "SIGTERM"), ("DuckDB", "SIGHUP")]
)
def test_a_signal_is_answered_wherever_it_comes(tmp_path: Path, place: str, name: str) -> None:
    script, file = FRAME.format(signal=name, place=PLACES[place]), tmp_path / "vectors.h5"
    command = [sys.executable, "-c", script, str(tmp_path / "went-on")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=100)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "transra: interrupted; the same command goes on\n")
    if file.exists():  # a signal that waited for the stream to be closed
        with h5py.File(file) as whole:
            assert whole["x"][-1] == 99_999
    assert [path for path in tmp_path.iterdir() if path != file] == []


def test_what_was_ignored_stays_ignored(tmp_path: Path) -> None:
    """`nohup` has SIGHUP ignored, a shell SIGINT for what it runs behind."""
    script = FRAME.format(signal="SIGHUP", place="def place(): ask(); sys.exit(7)")
    script = script.replace("from pathlib", "signal.signal(signal.SIGHUP, signal.SIG_IGN)\nfrom pathlib", 1)
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "x")], cwd=REPOSITORY, check=False, timeout=100)
    assert done.returncode == 7


def test_a_signal_after_the_answer_changes_nothing(tmp_path: Path) -> None:
    script = FRAME.format(signal="SIGTERM", place="go_on = lambda: atexit.register(ask)\ndef place(): pass")
    script = script.replace("sys.exit(cli.main())", "code = cli.main()\nask()\nsys.exit(code)")
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "x")], cwd=REPOSITORY, check=False, timeout=100)
    assert done.returncode == 0
