"""Small tensors gain nothing from threads, and lose a lot where cores are few."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worlds.postgres_server import PostgresServer, postgres_server

os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


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
