"""Small tensors gain nothing from threads, and lose a lot where cores are few."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worlds.postgres_server import PostgresServer, postgres_server
from tests.worlds.s3_server import S3Server, s3_server, set_environment

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Background jobs of a shell ignore interrupts, and hang-ups under nohup: so would the commands that tests
# end with them.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def _no_reports(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of a test makes no page unless the test is marked `reports`: a second for each of some hundred runs."""
    if request.node.get_closest_marker("reports") is None:
        monkeypatch.setattr("pipeline.report.view.LIBRARY", "no_library_in_tests")


@pytest.fixture
def shared_data() -> Path:
    """Real data sets beside the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the real data sets are not at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def _postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def postgres(_postgres: PostgresServer) -> PostgresServer:
    """A PostgreSQL server with an empty database."""
    _postgres.fresh()
    return _postgres


@pytest.fixture(scope="session")
def _s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def s3(_s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """A store with an empty bucket, to which the environment leads."""
    _s3.fresh()
    set_environment(monkeypatch, _s3.url)
    return _s3
