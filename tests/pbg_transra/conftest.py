"""A published night and the graph of the next one, trained once for all tests that begin from it."""

from pathlib import Path

import pytest

from pbg_transra.start.published import PublishedModel
from tests.worlds.warm_world import CONFIG, USERS, night, trained


@pytest.fixture(scope="session")
def yesterday(tmp_path_factory: pytest.TempPathFactory) -> PublishedModel:
    """Trained on the first 48 users, in two partitions."""
    directory = tmp_path_factory.mktemp("yesterday")
    night(directory / "graph", 2, 48)
    trained(directory / "graph", directory / "model", CONFIG)
    return PublishedModel("r1", directory / "graph", directory / "model", CONFIG)


@pytest.fixture(scope="session")
def today(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The graph of all users, in another order and in four partitions."""
    directory = tmp_path_factory.mktemp("today") / "graph"
    night(directory, 4, USERS, shuffled=1)
    return directory
