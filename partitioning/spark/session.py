"""The Spark session of a build, and what its errors mean."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from artifacts.errors import ConfigError, ResourceError
from partitioning.config.sections import SparkConfig
from partitioning.spark.failures import carried

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

T = TypeVar("T")
R = TypeVar("R")
_MASTER = "graph.spark.master"
_CONNECT_SECONDS = 10
_STANDALONE = "spark://"
_SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    # A task that is run twice at once would only write what nobody reads.
    "spark.speculation": "false",
    "spark.log.level": "ERROR",
    "spark.python.daemon.module": "partitioning.spark.daemon",
}
_FULL = re.compile(r"No space left on device|Disk quota exceeded")
_MEMORY = re.compile(r"OutOfMemoryError|Cannot allocate memory|SparkOutOfMemoryError")
_DIED = re.compile(r"Python worker exited unexpectedly")
_LOST = re.compile(r"ExecutorLostFailure|Master removed|masters are unresponsive|executor.{0,40} (lost|exited)", re.I)
_GONE = re.compile(r"stopped SparkContext|SparkContext was shut down|Connection refused|has been shut down")


@contextmanager
def spark_session(config: SparkConfig, spill: Path) -> Iterator[SparkSession]:
    """The session that this process has, or one of the master, which ends with the block; logs of Spark go to `spill`.

    Raises ConfigError where pyspark or Java is missing or the master is no URL of Spark's, and ResourceError for a
    master that is not there and for whatever Spark says while the block runs: too little disk or memory, lost
    executors.
    """
    _require_installed()
    from pyspark.sql import SparkSession

    running = SparkSession.getActiveSession()
    session = running or _begin(config, spill)
    try:
        with translated_spark():
            yield session
    finally:
        if running is None:
            session.stop()


def each(session: SparkSession, work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """What `work` makes of each item, in their order: a task each."""
    if not items:
        return []
    found: list[R] = session.sparkContext.parallelize(items, len(items)).map(work).collect()
    return found


def _require_installed() -> None:
    try:
        import pyspark  # noqa: F401  only whether it can be
    except ImportError:
        raise ConfigError("graph.engine: the package 'pyspark' is not installed; `pip install '.[spark]'`") from None
    home = os.environ.get("JAVA_HOME")
    if not (shutil.which(str(Path(home, "bin", "java"))) if home else shutil.which("java")):
        where = f"in JAVA_HOME ({home})" if home else "on PATH"
        raise ConfigError(f"graph.engine: Spark needs Java 17 or newer, and there is no java {where}")


def _begin(config: SparkConfig, spill: Path) -> SparkSession:
    from pyspark.sql import SparkSession

    if config.master.startswith(_STANDALONE):
        _require_answer(config.master)
    # Workers are to run this Python, unless the environment names another; a cluster has it in the same place.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas")  # no data of ours becomes pandas
    builder = SparkSession.builder.master(config.master).appName("transra partition")
    for key, value in _SETTINGS.items():
        builder = builder.config(key, value)
    if config.master.startswith("local"):  # one machine: what it spills lies, and goes, with what we spill
        builder = builder.config("spark.local.dir", str(spill))
        builder = builder.config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1")
    log = spill / "spark.log"
    try:
        with _stderr_to(log):  # of Java, for as long as it runs
            return builder.getOrCreate()
    except Exception as error:  # of py4j, of pyspark, or what Java said: they have no other base in common
        said = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        reason = next((line for line in said if "Exception" in line or "Error" in line), str(error).partition("\n")[0])
        kind = ConfigError if "Could not parse Master URL" in f"{reason}{error}" else ResourceError
        raise kind(f"{_MASTER}: no session of Spark at '{config.master}' ({reason})") from error


def _require_answer(master: str) -> None:
    """Raises ResourceError where none of the masters takes a connection: Spark itself would try for a minute."""
    reason: object = "expected spark://host:port"
    for place in master.removeprefix(_STANDALONE).split(","):
        host, _, port = place.rpartition(":")
        try:
            socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
            return
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
    raise ResourceError(f"{_MASTER}: no Spark master answers at {master} ({reason})")


@contextmanager
def _stderr_to(path: Path) -> Iterator[None]:
    """Programs that begin in the block write their errors to a file: the log that Java keeps for a person to read."""
    kept = os.dup(2)
    try:
        with path.open("ab") as file:
            os.dup2(file.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def translated_spark() -> Iterator[None]:
    """Raises what a task raised as itself, and what Spark says of its cluster as ResourceError of one line."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (Py4JError, PySparkException, ConnectionError) as error:
        said = str(error)
        if ours := carried(said):
            raise ours from error
        if found := _FULL.search(said):
            raise ResourceError(f"graph.spark: the disk of an executor is full ({found[0]})") from error
        if found := _MEMORY.search(said):
            raise ResourceError(f"graph.spark: an executor has too little memory ({found[0]})") from error
        if found := _DIED.search(said):
            told = f"a Python worker of an executor died ({found[0]}), as when it is killed for memory"
            raise ResourceError(f"graph.spark: {told}; run again, or lower graph.memory_limit") from error
        if found := _LOST.search(said):
            raise ResourceError(f"graph.spark: executors were lost ({found[0]}); run again") from error
        if isinstance(error, ConnectionError) or _GONE.search(said):
            raise ResourceError("graph.spark: the connection to Spark is gone; run again") from error
        raise
